/* A histogram of durations, of fixed size, in memory that processes share.
 *
 * Buckets. Each octave (from 2^k ns to twice that) is cut into 8 equal parts, from 2^9 ns (512 ns)
 * to 2^42 ns (73 minutes): an index is the position of the highest bit and the three bits behind
 * it. What is under or over that counts in the first and the last bucket, the outliers.
 *
 * Error. Part j of an octave goes from (8+j)u to (9+j)u, with u an eighth of the octave's begin.
 * For any value x in it, m = 2*low*high/(low+high) is off by at most
 *     |m - x| / x  <=  (high - low) / (high + low)  =  1 / (17 + 2j)  <=  1/17  =  5.9 %
 * since |m - x| / x has its maxima at both ends, and m is where these two are equal. (The middle
 * would be off by 1/16 at the low end.)
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

/* Set `copy`, which is the caller's own, to what a histogram holds now. */
void grd_histogram_read(struct grd_histogram *copy, const struct grd_histogram *histogram);

/* Add what a histogram holds to `sum`: the caller's own, or one in which others record. */
void grd_histogram_merge(struct grd_histogram *sum, const struct grd_histogram *histogram);
/* cffi: end */

#endif
