#include "histogram.h"

#include "atomic.h"

#define LIMIT (1ull << GRD_HISTOGRAM_LIMIT_BITS)
#define LIMB_MASK ((1ull << GRD_HISTOGRAM_LIMB_BITS) - 1)

#define PER_OCTAVE 473479ull    /* buckets, in 2^-16: 24 / log2(10) */
#define OFFSET (258ull << 30)   /* 64.5 in 2^-32: makes the guess of 500 ns 0 */

enum {
	LAST = GRD_HISTOGRAM_BUCKETS - 1,
	RAISE_TRIES = 64,
	SETTLE_TRIES = 8
};


/* The bounds in the decade from 500u to 5000u. */
#define DECADE(u) \
	550 * u, 600 * u, 670 * u, 750 * u, 825 * u, 910 * u, 1000 * u, 1100 * u, 1200 * u, \
	1300 * u, 1450 * u, 1600 * u, 1750 * u, 1900 * u, 2100 * u, 2300 * u, 2500 * u, \
	2750 * u, 3000 * u, 3350 * u, 3700 * u, 4100 * u, 4500 * u, 5000 * u

/* The most that each bucket holds, ns; the last one has no bound. */
static const uint64_t bounds[] = {
	500, DECADE(1ull), DECADE(10ull), DECADE(100ull), DECADE(1000ull), DECADE(10000ull),
	DECADE(100000ull), DECADE(1000000ull), DECADE(10000000ull), DECADE(100000000ull),
	DECADE(1000000000ull)
};

_Static_assert(sizeof(bounds) / sizeof(bounds[0]) == LAST, "each bucket has a bound, but the last");

uint64_t grd_histogram_bound(uint32_t bucket)
{
	return bounds[bucket < LAST ? bucket : LAST - 1];
}

/* The binary logarithm in 2^-16, but linear within an octave: up to 0.09 too low. */
static uint64_t log_of(uint64_t ns)
{
	int zeros = __builtin_clzll(ns);

	return (uint64_t)(63 - zeros) << 16 | (ns << zeros << 1) >> 48;
}

/* The guess is the bucket, or up to 2 below it, since the logarithm is too low and the bounds are
 * round. A loop would have the same result; a branch that depends on the value costs more. */
static unsigned int bucket_of(uint64_t ns)
{
	unsigned int guess;

	if (ns <= bounds[0])
		return 0;
	if (ns > bounds[LAST - 1])
		return LAST;
	guess = (unsigned int)((log_of(ns) * PER_OCTAVE - OFFSET) >> 32);
	guess += ns > bounds[guess];
	return guess + (ns > bounds[guess]);
}

/* Each try that fails was lost to another writer's larger value. A writer that loses so many times
 * in a row to values below its own gives up: a request must not wait here. */
static void raise_to(uint64_t *at, uint64_t value)
{
	for (int i = 0; i < RAISE_TRIES; i++) {
		uint64_t now = grd_load_relaxed(at);

		if (now >= value || grd_cas(at, now, value))
			return;
	}
}

static void add(uint64_t *at, uint64_t n)
{
	if (n)
		grd_add_relaxed(at, n);
}

/* The square of an hour has 84 bits, and a carry from one word to another would be two steps,
 * which a reader could come between and a killed process leave undone. So there is none: each
 * limb is a word of its own that has room for 2^39 records, 17 years of a thousand a second. */
static void add_square(uint64_t *squares, uint64_t ns)
{
	uint64_t low = ns & LIMB_MASK, high = ns >> GRD_HISTOGRAM_LIMB_BITS;
	uint64_t ends = low * low, cross = 2 * low * high, top = high * high;

	add(&squares[0], ends & LIMB_MASK);
	add(&squares[1], (ends >> GRD_HISTOGRAM_LIMB_BITS) + (cross & LIMB_MASK));
	add(&squares[2], (cross >> GRD_HISTOGRAM_LIMB_BITS) + (top & LIMB_MASK));
	add(&squares[3], top >> GRD_HISTOGRAM_LIMB_BITS);
}

void grd_histogram_record(struct grd_histogram *histogram, uint64_t ns)
{
	if (ns > LIMIT)
		ns = LIMIT;
	raise_to(&histogram->lowest, UINT64_MAX - ns);
	raise_to(&histogram->highest, ns);
	grd_add_relaxed(&histogram->sum, ns);
	add_square(histogram->squares, ns);
	/* publishes the above: who sees the value in its bucket finds it in the sum as well */
	grd_add_release(&histogram->buckets[bucket_of(ns)], 1);
}

static void look(struct grd_histogram *copy, const struct grd_histogram *histogram)
{
	/* what stands in a bucket has been added to the words that are loaded after it */
	for (int i = 0; i < GRD_HISTOGRAM_BUCKETS; i++)
		copy->buckets[i] = grd_load_acquire(&histogram->buckets[i]);
	copy->lowest = grd_load_relaxed(&histogram->lowest);
	copy->highest = grd_load_relaxed(&histogram->highest);
	copy->sum = grd_load_relaxed(&histogram->sum);
	for (int i = 0; i < GRD_HISTOGRAM_LIMBS; i++)
		copy->squares[i] = grd_load_relaxed(&histogram->squares[i]);
}

/* Returns by how much the sum grew meanwhile: 0, and all of the words belong together. */
static uint64_t attempt(struct grd_histogram *copy, const struct grd_histogram *histogram)
{
	/* before the buckets: the same sum after them was the sum all along */
	uint64_t before = grd_load_acquire(&histogram->sum);

	look(copy, histogram);
	return copy->sum - before;
}

/* A reader that loses the processor between buckets and sum finds a sum that is far ahead, so the
 * attempt in which the least came in is the one that counts. */
void grd_histogram_read(struct grd_histogram *copy, const struct grd_histogram *histogram)
{
	struct grd_histogram other = {0};
	uint64_t least;

	*copy = other;
	least = attempt(copy, histogram);
	for (int i = 1; least && i < SETTLE_TRIES; i++) {
		uint64_t grown = attempt(&other, histogram);

		if (grown < least) {
			least = grown;
			*copy = other;
		}
	}
}

void grd_histogram_merge(struct grd_histogram *sum, const struct grd_histogram *histogram)
{
	struct grd_histogram copy;

	grd_histogram_read(&copy, histogram);
	raise_to(&sum->lowest, copy.lowest);
	raise_to(&sum->highest, copy.highest);
	add(&sum->sum, copy.sum);
	for (int i = 0; i < GRD_HISTOGRAM_LIMBS; i++)
		add(&sum->squares[i], copy.squares[i]);
	/* publishes the above, as a record does */
	for (int i = 0; i < GRD_HISTOGRAM_BUCKETS; i++)
		if (copy.buckets[i])
			grd_add_release(&sum->buckets[i], copy.buckets[i]);
}
