/* The scoreboard: a header, then one slot per worker.
 *
 * Whoever maps the pages can read them without knowing who made them: the header holds magic,
 * version, sizes and the offset of the monotonic clock to Unix time. A reader checks each length
 * against its mapping before it uses it.
 *
 * Owner. A slot's first word says whose it is: generation, state, a tag of the owner's start
 * time, and its pid. It changes by compare-and-swap only, so two arbiters may claim at once, and
 * any number of processes may free the slot of a dead owner.
 *
 * Gauge. Calling and writing share one word, so that a request which moves from one to the other
 * is never seen in both or in neither. Its high bits repeat the owner's generation: a gauge whose
 * generation is not the owner's was left by an earlier, dead owner and reads as zero. So freeing
 * the owner word takes the dead worker's requests out of the gauges, without writing to the gauge
 * that a new owner may already use. Open websockets are a gauge of the same kind; its word is on
 * the first line, since a websocket comes and goes seldom.
 *
 * Totals grow for ever, over all owners of the slot. Only the owner's threads add to the second
 * and the third line and to the histograms; nobody else writes there while it lives.
 *
 * Memory. A slot is three pages, of which an unnamed file has none before somebody touches them.
 * So nobody looks beyond `used`, which claims raise: it costs what the slots in use cost, however
 * many there could be.
 *
 * Exits. Each owner's end is counted once, by its generation: by the worker itself on its way out
 * if it gets there and knows why, else by the arbiter that reaps it, at the latest by the next
 * claim of the slot. */
#ifndef GRD_SCOREBOARD_H
#define GRD_SCOREBOARD_H

#include <stdint.h>

#include "layout.h"

/* cffi: begin */
struct grd_slot_record {                /* what a reader sees of one slot that is not free */
	uint32_t slot;
	uint32_t state;
	uint32_t pid;
	uint32_t tag;
	uint64_t owner;
	uint64_t start;
	uint64_t age;
	uint64_t started;
	uint64_t capacity;
	uint64_t requests;      /* of this owner */
	uint32_t calling;
	uint32_t writing;
	uint64_t websockets;
	uint64_t busy;          /* of this owner, ns */
	uint64_t took;          /* how long its oldest request has been inside, ns */
	struct grd_entry entry;        /* that request; began is 0 where there is none */
};

struct grd_totals {
	uint64_t requests;
	uint64_t responses[GRD_RESPONSE_CLASSES];
	uint64_t errors;
	uint64_t queue_ignored;
	struct grd_histogram request;
	struct grd_histogram queue[GRD_QUEUE_SOURCES];
};

struct grd_high_water {               /* since some seconds ago, see marks.h */
	uint64_t mark[GRD_MARKS];
};

/* Claiming and freeing. `who` is a pid and a tag, made by grd_who. Of the row that a new owner
 * gives, `owner` (its who), start, age, started and capacity count. */
uint64_t grd_who(uint32_t pid, uint64_t start);
int64_t grd_claim(struct grd_header *header, struct grd_slot *slots, uint32_t count, uint64_t who);
int64_t grd_find_claimed(struct grd_slot *slots, uint32_t count, uint64_t who);
uint64_t grd_owner(struct grd_slot *slot);
void grd_set_state(struct grd_slot *slot, uint32_t state);      /* by whoever has it */
int grd_take_over(struct grd_slot *slot, uint64_t claimed, const struct grd_slot_record *owner);
int grd_free(struct grd_header *header, struct grd_slot *slot, uint64_t owner);
int grd_free_generation(struct grd_header *header, struct grd_slot *slot, uint64_t owner);
/* Free it; the instants in it are another boot's. */
void grd_forget(struct grd_header *header, struct grd_slot *slot);
void grd_add_untracked(struct grd_header *header, int64_t n);

/* Count the end of an owner, once; 0 if it has been counted, or the slot has gone on. */
int grd_exit(struct grd_header *header, struct grd_slot *slot, uint64_t owner, uint32_t cause);

/* What a dead owner of a slot was doing, also after it was freed; 0 if the slot has gone on. */
int grd_last(struct grd_slot *slot, uint64_t owner, struct grd_slot_record *row);

/* Keep what is known of a worker that was killed, in the place of the one kept longest. */
void grd_record_kill(struct grd_header *header, const struct grd_kill *killed);
/* Copy the one that was kept as number `turn`, from 1; 0 if it is not there. */
int grd_read_kill(const struct grd_header *header, uint64_t turn, struct grd_kill *copy);

/* The high-water marks of the last seconds; those of queued are what grd_saw_queued was told. */
void grd_most(const struct grd_header *header, uint32_t seconds, struct grd_high_water *most);
void grd_saw_queued(struct grd_header *header, uint64_t queued);

/* Look for the first slot from index `from` on that is in a state; its index, or -1. */
int64_t grd_find(struct grd_slot *slots, uint32_t count, uint32_t from, uint32_t state,
		 struct grd_slot_record *row);

/* How many slots have ever been claimed. */
uint32_t grd_used(const struct grd_header *header, uint32_t count);

/* Sum the totals of `count` slots and list those that are not free; returns how many. `busy` is
 * of all owners that a slot ever had, ns, by slot. */
uint32_t grd_read(struct grd_header *header, struct grd_slot *slots, uint32_t count,
		  struct grd_slot_record *rows, struct grd_totals *totals, uint64_t *busy);
/* cffi: end */

#endif
