/* Slots: how they are claimed, taken over, freed, and how ends are counted. layout.h says who may
 * write which word.
 *
 * Freeing. A dead owner's requests leave the gauges with the owner word: its generation is the
 * gauge's no more. So nobody writes to a gauge that a new owner may already use.
 *
 * Exits. The end of each owner is counted once, by its generation: by the worker itself on its way
 * out if it gets there and knows why, else by the arbiter that waits for it, at the latest by the
 * next claim of the slot.
 *
 * Memory. A slot is three pages, of which an unnamed file has none before they are touched. So
 * nobody looks beyond `used`, which claims raise: reading costs what the slots in use cost. */
#ifndef GRD_SCOREBOARD_H
#define GRD_SCOREBOARD_H

#include <stdint.h>

#include "layout.h"

/* cffi: begin */
struct grd_owner {                      /* of a slot */
	uint64_t who;           /* made by grd_who */
	uint64_t namespace;     /* inode of its PID namespace */
	uint64_t start;         /* clock ticks since boot */
	uint64_t age;
	uint64_t started;       /* CLOCK_MONOTONIC, ns */
	uint64_t capacity;
};

/* What an owner word has of its process: the pid, and a tag of the start time. */
uint64_t grd_who(uint32_t pid, uint64_t start);
uint64_t grd_owner(const struct grd_slot *slot);

/* Have readers look at so many slots, at least. */
void grd_raise_used(struct grd_header *header, uint64_t used);
/* Claim the first free slot; return its index, or -1. Of the owner, who and namespace count. */
int64_t grd_claim(struct grd_header *header, struct grd_slot *slots, uint32_t count,
		  const struct grd_owner *owner);
/* Return the index of the slot that was claimed for a process, or -1. */
int64_t grd_find_claimed(const struct grd_slot *slots, uint32_t count, uint64_t who);

/* Take over a claimed slot: the caller has it from then on, but it is not published. Return its
 * owner word, 0 if it has been freed since it was claimed. */
uint64_t grd_take_over(struct grd_slot *slot, uint64_t claimed, const struct grd_owner *owner);
/* Publish a slot that was taken over; 0 if it has been freed meanwhile. */
int grd_publish(struct grd_slot *slot, uint64_t taken);
void grd_set_state(struct grd_slot *slot, uint32_t state);      /* by the owner */

/* Free a slot; 0 if its owner word is another one by now. */
int grd_free(struct grd_header *header, struct grd_slot *slot, uint64_t owner);
/* The same, whatever state the owner has gone to since. */
int grd_free_generation(struct grd_header *header, struct grd_slot *slot, uint64_t owner);
/* Free a slot whose instants are of a clock that ended at `then`: another boot's. */
void grd_forget(struct grd_header *header, struct grd_slot *slot, uint64_t then);

/* Finish what processes that were killed while they freed a slot have left undone. */
void grd_settle_free(struct grd_slot *slots, uint32_t count);

struct grd_look {               /* at the level of the marks, by who reaps: see marks.h */
	int excess[2];          /* found last time: calling, writing */
};

/* Correct the level by what this look has in common with the last one. */
void grd_correct_level(struct grd_header *header, const struct grd_slot *slots, uint32_t count,
		       struct grd_look *last);

/* Count the end of an owner, once; 0 if it has been counted, or the slot has a later owner. */
int grd_exit(struct grd_header *header, struct grd_slot *slot, uint64_t owner, uint32_t cause);

/* Keep what is known of a worker that was killed, in place of the record kept longest. */
void grd_record_kill(struct grd_header *header, const struct grd_kill *killed);

void grd_saw_queued(struct grd_header *header, uint64_t queued);
void grd_saw_waiting(struct grd_header *header, uint64_t waiting);
uint64_t grd_last_mark(const struct grd_header *header);        /* see grd_marks_last */
/* cffi: end */

/* Whether an owner, which may be gone, took over the slot that was claimed for it. */
int grd_was_taken(const struct grd_slot *slot, uint64_t owner);

#endif
