/* High-water marks: how many requests were calling, or writing, and how many connections queued, at
 * most, in each of the last seconds. They belong to no reader, so none takes another's.
 *
 * Level. To know the most there ever was of all workers together, they have a word in common:
 * turn, calling, writing, one atomic addition for each step of a request. The slots' gauges stay
 * the truth: a worker that is killed between its two additions leaves the level too high (a begin
 * raises it first, an end lowers it last), and the next reader puts it right. The turn is there
 * for that: it tells whether any request took a step while the gauges were summed.
 *
 * Ring. A word for each second: the second above, the most below, so that a word only grows and a
 * new second begins by itself. A step that lowers the level marks what it was before: a level that
 * held for some time is marked in the second that it ends in, or is still there to be read. */
#ifndef GRD_MARKS_H
#define GRD_MARKS_H

#include <stdint.h>

#include "layout.h"

enum {
	GRD_LEVEL_BITS = 20,
	GRD_LEVEL_HIGHEST = (1 << (GRD_LEVEL_BITS - 1)) - 1     /* over that it went under 0 */
};

/* Take a step; the two counts are what it adds, or takes away. */
void grd_marks_step(struct grd_marks *marks, uint64_t now, int calling, int writing);

/* Mark that there were so many. */
void grd_marks_raise(struct grd_marks *marks, uint64_t now, int what, uint64_t count);

/* What is in flight, as the gauges say; `seen` is the level from before they were summed. */
void grd_marks_correct(struct grd_marks *marks, uint64_t seen, uint64_t calling, uint64_t writing);

/* Set `most` to the marks of the last `seconds` whole ones and the one that is not over yet, with
 * what is in flight now. */
void grd_marks_read(const struct grd_marks *marks, uint64_t now, uint32_t seconds, uint64_t *most);

#endif
