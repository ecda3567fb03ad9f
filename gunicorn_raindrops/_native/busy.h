/* How long requests have been in flight in a slot, those in flight now included: one word.
 *
 * Word. Its low bits count the requests in flight; the rest are ticks, modulo their width. A begin
 * subtracts its instant and counts one request, an end adds its instant and counts one less: one
 * atomic addition each. At any instant
 *     ticks + requests in flight * now
 * is the time that requests have spent in flight so far, whoever is killed wherever. A dead owner
 * ends nothing any more: the process that frees its slot settles the word, which ends its requests.
 *
 * Monotone without readers that write. An end reads the clock before its addition arrives; a reader
 * that came between the two would count too much, and the next reader less. So a step announces
 * itself. A begin adds to this word first and to the gauge last; an end takes from the gauge first,
 * then reads the clock, then adds to this word. Settling frees the owner first, which empties the
 * gauge, then reads the clock. So whenever an instant is on its way into the word, the word counts
 * more requests than the gauge. A reader loads the word, the clock, the gauge, and the word again:
 * where the word has not changed and counts no more than the gauge, its sum is exact at that
 * instant, and no later exact sum is less. Else it tries again.
 *
 * An owner may lose the processor, or its life, in the middle of a step. A step is some nanoseconds
 * long, so it then began just after `busy_step`, which it has stored before. After some tries the
 * reader counts the requests in a step up to there. That is no more than the step will add, and no
 * less than what was read before the step, but for these nanoseconds; they are more where the owner
 * loses the processor twice in one step, which was seen once in hundreds of millions of steps. An
 * owner takes one step at a time: its threads hold the GIL.
 *
 * Turn. The ticks go round after 9 years of requests. `busy_turn` is a total that the slot has had
 * within the last half turn. The owner, or the process that settles, raises it when the total has
 * moved more than a quarter turn beyond it. */
#ifndef GRD_BUSY_H
#define GRD_BUSY_H

#include <stdint.h>

#include "atomic.h"
#include "layout.h"

static inline uint64_t grd_busy_in_flight(uint64_t word)
{
	return word & ((1ull << GRD_BUSY_COUNT_BITS) - 1);
}

static inline uint64_t grd_busy_instant(uint64_t ns)
{
	return (ns >> GRD_BUSY_TICK_BITS) << GRD_BUSY_COUNT_BITS;
}

/* The total of a word at an instant, in ticks: the one within half a turn of `turn`. */
static inline uint64_t grd_busy_total(uint64_t word, uint64_t now, uint64_t turn)
{
	uint64_t ticks = (word >> GRD_BUSY_COUNT_BITS) +
			 grd_busy_in_flight(word) * (now >> GRD_BUSY_TICK_BITS);
	int64_t beyond = (int64_t)((ticks - turn) << GRD_BUSY_COUNT_BITS) >> GRD_BUSY_COUNT_BITS;

	return turn + (uint64_t)beyond;
}

static inline void grd_busy_keep_turn(struct grd_slot *slot, uint64_t word, uint64_t now)
{
	uint64_t turn = grd_load_relaxed(&slot->busy_turn);
	uint64_t total = grd_busy_total(word, now, turn);

	if ((int64_t)(total - turn) >> (64 - GRD_BUSY_COUNT_BITS - 2) > 0)
		grd_cas(&slot->busy_turn, turn, total);
}

/* A step begins: before anything that it does to busy, gauge or owner, which publishes this. */
static inline void grd_busy_step(struct grd_slot *slot, uint64_t now)
{
	grd_store_relaxed(&slot->busy_step, now);
}

/* Before the request is added to the gauge. */
static inline void grd_busy_begin(struct grd_slot *slot, uint64_t now)
{
	grd_busy_step(slot, now);
	grd_add_release(&slot->busy, 1 - grd_busy_instant(now));
}

/* After the request was taken from the gauge, with the clock read in between. */
static inline void grd_busy_end(struct grd_slot *slot, uint64_t now)
{
	uint64_t word;

	grd_busy_step(slot, now);
	word = grd_add_release(&slot->busy, grd_busy_instant(now) - 1);
	grd_busy_keep_turn(slot, word, now);
}

/* Return the time that requests have been in flight, ns. */
uint64_t grd_busy_read(const struct grd_slot *slot);

/* End what a dead owner had in flight, now, unless `owner` is the slot's owner no more. The slot is
 * free, or claimed by the caller: its gauge counts nothing. */
void grd_busy_settle(struct grd_slot *slot, uint64_t owner);

/* The same, as of an instant in the past: no clock tells now how long they were in flight. */
void grd_busy_settle_at(struct grd_slot *slot, uint64_t owner, uint64_t then);

#endif
