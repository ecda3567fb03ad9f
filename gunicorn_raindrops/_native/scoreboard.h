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

#include "current.h"
#include "histogram.h"
#include "marks.h"

/* cffi: begin */
enum {
	GRD_FREE, GRD_CLAIMED, GRD_STARTING, GRD_READY, GRD_FINISHING
};

enum {
	GRD_PID_BITS = 22,      /* Linux: PID_MAX_LIMIT, include/linux/threads.h */
	GRD_STATE_BITS = 3,
	GRD_TAG_BITS = 15,
	GRD_GENERATION_SHIFT = 40,
	GRD_GAUGE_BITS = 20     /* writing below, calling above it */
};

enum {                                  /* why a worker ended */
	GRD_EXIT_GRACEFUL,              /* it was told to */
	GRD_EXIT_MAX_REQUESTS,
	GRD_EXIT_TIMEOUT,               /* the arbiter's */
	GRD_EXIT_KILLED,                /* by a signal, or in another way that it had no say in */
	GRD_EXIT_BOOT_FAILURE,
	GRD_EXIT_FAILED,                /* by an exception, or with a status of its own */
	GRD_EXIT_CAUSES,
	GRD_KILLED_KEPT = 8
};

enum {                                  /* who says how long a request has waited */
	GRD_QUEUE_SOCKET, GRD_QUEUE_HEADER, GRD_QUEUE_SOURCES
};

struct grd_killed {             /* a worker that was killed; the last few are kept */
	uint64_t turn;          /* its number, from 1; 0 while it is written */
	uint64_t time;          /* Unix time, ns */
	uint32_t slot;
	uint32_t pid;
	uint32_t cause;
	uint32_t in_flight;
	uint64_t age;
	uint64_t took;          /* how long its oldest request had been inside, ns */
	struct grd_current current;
};

struct grd_header {
	char magic[8];
	uint32_t version;
	uint32_t header_size;   /* where the first slot begins */
	uint32_t slot_size;
	uint32_t slots;
	uint64_t length;        /* of the whole, in bytes */
	uint64_t created;       /* CLOCK_MONOTONIC, ns */
	int64_t unix_offset;    /* Unix time less CLOCK_MONOTONIC at that instant, ns */
	char boot_id[40];       /* of the boot whose pids and monotonic instants stand here */
	uint64_t untracked;     /* workers alive that found no free slot */
	uint64_t used;          /* slots from here on have never been claimed */
	uint64_t exits[6];      /* by cause */
	uint64_t kills;         /* how many have been kept below, in turn */
	struct grd_killed killed[8];
	uint64_t padding[4];    /* to a line of its own for what every request writes to */
	struct grd_marks marks;
};

struct grd_slot {
	uint64_t owner;
	uint64_t start;         /* the owner's start time, clock ticks since boot (proc_pid_stat(5)) */
	uint64_t age;           /* gunicorn's ordinal of the worker */
	uint64_t started;       /* when the owner took the slot, CLOCK_MONOTONIC, ns */
	uint64_t capacity;      /* requests that the owner can run at once */
	uint64_t base;          /* requests of the slot when the owner took it */
	uint64_t websockets;    /* open, below the owner's generation */
	uint64_t base_busy;     /* as base, ns */

	uint64_t gauge;
	uint64_t requests;
	uint64_t responses[5];  /* 1xx to 5xx */
	uint64_t errors;

	uint64_t busy;          /* see busy.h */
	uint64_t queue_ignored; /* headers that said no time, or one to come */
	uint64_t spare[6];
	uint64_t busy_told;     /* readers write this */
	uint64_t exited;        /* the last generation whose end has been counted */
	uint64_t spare_told[6];

	struct grd_histogram request;   /* from begin to end */
	struct grd_histogram queue[2];  /* by source, before that */
	uint64_t padding[152];          /* to the page where the places begin */
	struct grd_current places[32];
};

struct grd_row {                /* what a reader sees of one slot that is not free */
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
	struct grd_current current;     /* that request; began is 0 where there is none */
};

struct grd_totals {
	uint64_t requests;
	uint64_t responses[5];
	uint64_t errors;
	uint64_t queue_ignored;
	struct grd_histogram request;
	struct grd_histogram queue[2];
};

struct grd_most {               /* since some seconds ago, see marks.h */
	uint64_t mark[3];
};

/* Claiming and freeing. `who` is a pid and a tag, made by grd_who. Of the row that a new owner
 * gives, `owner` (its who), start, age, started and capacity count. */
uint64_t grd_who(uint32_t pid, uint64_t start);
int64_t grd_claim(struct grd_header *header, struct grd_slot *slots, uint32_t count, uint64_t who);
int64_t grd_find_claimed(struct grd_slot *slots, uint32_t count, uint64_t who);
uint64_t grd_owner(struct grd_slot *slot);
void grd_set_state(struct grd_slot *slot, uint32_t state);      /* by whoever has it */
int grd_take(struct grd_slot *slot, uint64_t claimed, const struct grd_row *owner);
int grd_free(struct grd_header *header, struct grd_slot *slot, uint64_t owner);
int grd_free_generation(struct grd_header *header, struct grd_slot *slot, uint64_t owner);
/* Free it; the instants in it are another boot's. */
void grd_forget(struct grd_header *header, struct grd_slot *slot);
void grd_add_untracked(struct grd_header *header, int64_t n);

/* Count the end of an owner, once; 0 if it has been counted, or the slot has gone on. */
int grd_exit(struct grd_header *header, struct grd_slot *slot, uint64_t owner, uint32_t cause);

/* What a dead owner of a slot was doing, also after it was freed; 0 if the slot has gone on. */
int grd_last(struct grd_slot *slot, uint64_t owner, struct grd_row *row);

/* Keep what is known of a worker that was killed, in the place of the one kept longest. */
void grd_keep_killed(struct grd_header *header, const struct grd_killed *killed);
/* Copy the one that was kept as number `turn`, from 1; 0 if it is not there. */
int grd_killed(const struct grd_header *header, uint64_t turn, struct grd_killed *copy);

/* The high-water marks of the last seconds; those of queued are what grd_saw_queued was told. */
void grd_most(const struct grd_header *header, uint32_t seconds, struct grd_most *most);
void grd_saw_queued(struct grd_header *header, uint64_t queued);

/* Look for the first slot from index `from` on that is in a state; its index, or -1. */
int64_t grd_find(struct grd_slot *slots, uint32_t count, uint32_t from, uint32_t state,
		 struct grd_row *row);

/* How many slots have ever been claimed. */
uint32_t grd_used(const struct grd_header *header, uint32_t count);

/* Sum the totals of `count` slots and list those that are not free; returns how many. `busy` is
 * of all owners that a slot ever had, ns, by slot. */
uint32_t grd_read(struct grd_header *header, struct grd_slot *slots, uint32_t count,
		  struct grd_row *rows, struct grd_totals *totals, uint64_t *busy);
/* cffi: end */

#define GRD_ONE_WRITING 1ull
#define GRD_ONE_CALLING (1ull << GRD_GAUGE_BITS)

#endif
