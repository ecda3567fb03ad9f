#include "busy.h"

#include "clock.h"

enum { TURN_BITS = 64 - GRD_BUSY_COUNT_BITS, SETTLE_TRIES = 8 };

/* The ticks of a word at an instant, modulo 2^TURN_BITS; what is above that is of no meaning. */
static uint64_t ticks_of(uint64_t word, uint64_t now)
{
	return (word >> GRD_BUSY_COUNT_BITS) +
	       grd_busy_in_flight(word) * (now >> GRD_BUSY_TICK_BITS);
}

/* Return whole ticks, the told ones or later ones. */
static uint64_t unwound(uint64_t ticks, uint64_t told)
{
	int64_t more = (int64_t)((ticks - told) << GRD_BUSY_COUNT_BITS) >> GRD_BUSY_COUNT_BITS;

	return more > 0 ? told + (uint64_t)more : told;
}

static uint64_t look(uint64_t *word)
{
	uint64_t seen = 0, now = 0;

	for (int i = 0; i < SETTLE_TRIES; i++) {
		seen = grd_load_acquire(word);
		now = grd_now();
		/* unchanged: what was in flight before the clock was read still is */
		if (grd_load_relaxed(word) == seen)
			break;
	}
	return ticks_of(seen, now);
}

static uint64_t tell(uint64_t *told, uint64_t ticks)
{
	uint64_t before = grd_load_relaxed(told), now;

	do {
		now = unwound(ticks, before);
	} while (now != before && !grd_cas_or_load(told, &before, now));
	return now;
}

uint64_t grd_busy_read(uint64_t *word, uint64_t *told)
{
	return tell(told, look(word)) << GRD_BUSY_TICK_BITS;
}

int grd_busy_settle(uint64_t *word, uint64_t *told, uint64_t seen)
{
	uint64_t ticks = tell(told, ticks_of(seen, grd_now()));

	return grd_cas(word, seen, ticks << GRD_BUSY_COUNT_BITS);
}

void grd_busy_forget(uint64_t *word, uint64_t *told)
{
	uint64_t seen = grd_load_acquire(word);

	if (grd_busy_in_flight(seen))
		grd_cas(word, seen, grd_load_relaxed(told) << GRD_BUSY_COUNT_BITS);
}
