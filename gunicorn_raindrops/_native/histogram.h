/* A histogram of durations, of fixed size, in memory that processes share.
 *
 * Buckets. Each decade (from 5*10^k ns to ten times that) is cut into the same 24 parts, from 500 ns
 * to 5,000 s. The bounds are round: 1, 2.5, 3, 5, 6 and 7.5 times each power of ten are among them,
 * so counts at those are exact. A bucket holds what is above its lower bound and at most its
 * upper bound: a value that equals a bound is "at most" it, as Prometheus's `le` has it. What is at
 * most 500 ns counts in the first bucket, what is above 5,000 s in the last: the outliers.
 *
 * Error. For any value x of a bucket from low to high, m = 2*low*high/(low+high) is off by at most
 *     |m - x| / x  <=  (high - low) / (high + low)
 * since |m - x| / x has its maxima at both ends, and m is where these two are equal. The widest
 * part of a decade goes from 6.7 to 7.5: 5.7 %.
 *
 * All zero is an empty histogram, so fresh pages need no preparation, and no word ever decreases:
 * the sum of several, read again and again, never goes back.
 *
 * Order. A record writes extremes, sum and squares, then publishes its bucket. A reader acquires
 * the buckets, then loads the rest. So whatever is in the buckets is in the rest, but the rest may
 * be ahead: by one record of each thread that is in the middle of one, or that was killed there.
 * How many were recorded is not kept, it is the sum of the buckets. */
#ifndef GRD_HISTOGRAM_H
#define GRD_HISTOGRAM_H

#include <stdint.h>

#include "layout.h"

/* cffi: begin */
/* Any thread of any process, at any time. A value over the limit is recorded as the limit. */
void grd_histogram_record(struct grd_histogram *histogram, uint64_t ns);

/* The most that a bucket holds, ns; the last one, which has no such bound, counts as the one before. */
uint64_t grd_histogram_bound(uint32_t bucket);

/* Set `copy`, which is the caller's own, to what a histogram holds now. */
void grd_histogram_read(struct grd_histogram *copy, const struct grd_histogram *histogram);

/* Add what a histogram holds to `sum`: the caller's own, or one in which others record. */
void grd_histogram_merge(struct grd_histogram *sum, const struct grd_histogram *histogram);
/* cffi: end */

#endif
