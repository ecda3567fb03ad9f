/* How long requests have been inside a slot, those in flight included: one word.
 *
 * Word. Its low bits count the requests in flight; the rest are ticks, modulo their width. A begin
 * takes its instant away and adds one request, an end gives its instant back and takes the request
 * away: one atomic addition each. At any instant
 *     ticks + requests in flight * now
 * is the time that requests have spent in here so far, whoever is killed wherever. A worker that
 * is dead ends nothing any more: whoever frees its slot ends what it had in flight, then and there.
 *
 * Told. A reader that loses the processor between its look at the word and at the clock would
 * find more than there is, and less the next time. So the most that any reader has found is kept
 * beside it, in whole, and no reader says less. It also tells which turn the ticks are in, if
 * they are read at least once in half a turn: 18 years of one request, a week of a thousand. */
#ifndef GRD_BUSY_H
#define GRD_BUSY_H

#include <stdint.h>

#include "atomic.h"

enum {
	GRD_BUSY_COUNT_BITS = 16,
	GRD_BUSY_TICK_BITS = 12         /* a tick is 4096 ns */
};

static inline uint64_t grd_busy_instant(uint64_t ns)
{
	return (ns >> GRD_BUSY_TICK_BITS) << GRD_BUSY_COUNT_BITS;
}

static inline void grd_busy_begin(uint64_t *word, uint64_t now)
{
	grd_add_relaxed(word, 1 - grd_busy_instant(now));
}

static inline void grd_busy_end(uint64_t *word, uint64_t now)
{
	grd_add_relaxed(word, grd_busy_instant(now) - 1);
}

/* Return the time that requests have been inside, ns. */
uint64_t grd_busy_read(uint64_t *word, uint64_t *told);

/* End what is in flight, now; 0 if the word has changed since `seen`. Nobody else may be alive to
 * end it. */
int grd_busy_settle(uint64_t *word, uint64_t *told, uint64_t seen);

/* End what is in flight as of the last look: its instants are of another boot's clock. */
void grd_busy_forget(uint64_t *word, uint64_t *told);

static inline uint64_t grd_busy_in_flight(uint64_t word)
{
	return word & ((1ull << GRD_BUSY_COUNT_BITS) - 1);
}

#endif
