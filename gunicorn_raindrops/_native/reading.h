/* Reading a scoreboard. Nothing here writes to the pages, which may be mapped read-only. */
#ifndef GRD_READING_H
#define GRD_READING_H

#include <stdint.h>

#include "layout.h"

/* cffi: begin */
struct grd_slot_record {        /* of a slot that is not free */
	uint32_t slot;
	uint32_t state;
	uint32_t pid;
	uint32_t tag;           /* low bits of the owner's start time */
	uint64_t owner;
	uint64_t namespace;     /* inode of the owner's PID namespace */
	uint64_t is_namespace_known;    /* 0 for a moment after the claim */
	/* the rest is of an owner that has taken the slot over, else 0 */
	uint64_t start;
	uint64_t age;
	uint64_t started;
	uint64_t capacity;
	uint64_t requests;      /* of this owner */
	uint32_t calling;
	uint32_t writing;
	uint32_t reading;       /* connections held without a request in flight */
	uint32_t is_reading_known;      /* 0: the owner does not count connections */
	uint64_t websockets;
	uint64_t lag;           /* by how much the status thread's last turn, or its next, is late, ns */
	uint64_t is_lag_known;  /* 0: it has had none */
	uint64_t busy;          /* of this owner, ns */
	uint64_t took;          /* how long its oldest request has been in flight, ns */
	struct grd_entry entry; /* that request; began is 0 where there is none */
};

struct grd_totals {
	uint64_t requests;
	uint64_t responses[GRD_RESPONSE_CLASSES];
	uint64_t errors;
	uint64_t queue_ignored;
	struct grd_histogram request;
	struct grd_histogram queue[GRD_QUEUE_SOURCES];
};

struct grd_high_water {
	uint64_t mark[GRD_MARKS];
};

/* How many slots have ever been claimed, at most `count`. */
uint32_t grd_used(const struct grd_header *header, uint32_t count);

/* List the slots that are not free; return how many. */
uint32_t grd_list(const struct grd_slot *slots, uint32_t count, struct grd_slot_record *records);

/* The same, and sum the totals of all. `busy` is of all owners that a slot ever had, ns, by slot. */
uint32_t grd_read(const struct grd_slot *slots, uint32_t count, struct grd_slot_record *records,
		  struct grd_totals *totals, uint64_t *busy);

/* What an owner of a slot was doing, also after the slot was freed; 0 if it has a later owner. */
int grd_read_last(const struct grd_slot *slot, uint64_t owner, struct grd_slot_record *record);

/* Copy the kill that was recorded as number `turn`, from 1; 0 if it is not there. */
int grd_read_kill(const struct grd_header *header, uint64_t turn, struct grd_kill *copy);

/* The high-water marks of the last seconds. */
void grd_read_marks(const struct grd_header *header, uint32_t seconds,
		    struct grd_high_water *most);
/* cffi: end */

#endif
