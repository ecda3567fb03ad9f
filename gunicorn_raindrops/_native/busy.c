#include "busy.h"

#include "clock.h"
#include "words.h"

enum { READ_TRIES = 256, SETTLE_TRIES = 8 };

/* How many instants are on their way into the word: see busy.h. The loads are acquire, so a load of
 * the word after this is a later one. */
static uint64_t steps_of(const struct grd_slot *slot, uint64_t word)
{
	uint64_t owner = grd_load_acquire(&slot->owner);
	uint64_t gauge = grd_gauge_of(&slot->gauge, owner);
	uint64_t counted = grd_busy_in_flight(word);
	uint64_t in_gauge = grd_calling_of(gauge) + grd_writing_of(gauge);

	return counted > in_gauge ? counted - in_gauge : 0;
}

/* The total with the requests that are in a step counted up to that only. */
static uint64_t total_of(const struct grd_slot *slot, uint64_t word, uint64_t now, uint64_t steps)
{
	uint64_t step = grd_load_relaxed(&slot->busy_step), turn = grd_load_relaxed(&slot->busy_turn);
	uint64_t late = steps && step < now
			? steps * ((now >> GRD_BUSY_TICK_BITS) - (step >> GRD_BUSY_TICK_BITS)) : 0;

	return (grd_busy_total(word, now, turn) - late) << GRD_BUSY_TICK_BITS;
}

uint64_t grd_busy_read(const struct grd_slot *slot)
{
	for (int i = 1;; i++) {
		uint64_t word = grd_load_acquire(&slot->busy), now = grd_now(), steps;

		/* the clock before the gauge: a step that has read an earlier time is seen there */
		grd_fence_seq_cst();
		steps = steps_of(slot, word);
		if ((!steps && grd_load_relaxed(&slot->busy) == word) || i == READ_TRIES)
			return total_of(slot, word, now, steps);
	}
}

/* 1 once the word is settled, or another's. */
static int try_settle(struct grd_slot *slot, uint64_t owner, uint64_t then)
{
	uint64_t word = grd_load_acquire(&slot->busy), turn, total;

	/* An owner adds to the word behind a release fence that is behind its take-over. So a word
	 * of its is seen only together with its owner word, and the swap below fails: a word with an
	 * instant in it does not come back. */
	if (!grd_busy_in_flight(word) || grd_load_acquire(&slot->owner) != owner)
		return 1;
	turn = grd_load_relaxed(&slot->busy_turn);
	total = grd_busy_total(word, then, turn);
	if ((int64_t)(total - turn) < 0)
		total = turn;   /* `then` was before their begin */
	grd_busy_keep_turn(slot, total << GRD_BUSY_COUNT_BITS, then);
	return grd_cas(&slot->busy, word, total << GRD_BUSY_COUNT_BITS);
}

void grd_busy_settle_at(struct grd_slot *slot, uint64_t owner, uint64_t then)
{
	for (int i = 0; i < SETTLE_TRIES && !try_settle(slot, owner, then); i++)
		;
}

void grd_busy_settle(struct grd_slot *slot, uint64_t owner)
{
	/* the free owner word, which empties the gauge, before the look at the clock */
	grd_fence_seq_cst();
	grd_busy_settle_at(slot, owner, grd_now());
}
