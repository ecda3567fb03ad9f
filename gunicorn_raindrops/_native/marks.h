/* High-water marks: the most requests calling, the most writing, the most connections queued, and
 * the most requests waiting inside, in each of the last seconds. They belong to no reader, so none
 * takes another's.
 *
 * Level. The most that all workers had together needs a word in common: turn, calling, writing, one
 * atomic addition for each step of a request. The gauges of the slots stay the truth. A begin
 * raises the level first and its gauge last (a release addition); an end lowers its gauge first and
 * the level last (a release addition). A look loads the level (acquire), all gauges (acquire), and
 * the level again. So a look at an unchanged level finds every request of a gauge in the level too,
 * and a level that is too high was left by a worker that was killed between its two additions, or
 * by one that is between them now. Who reaps corrects what two looks have in common. (The step from
 * calling to writing moves one request in one addition each: there the level may be too low by a
 * request for as long.)
 * A field of half a million or more, in all workers together, looks like one below 0 and is not
 * marked.
 *
 * Ring. A word for each second: the second above, the most below, so that a word only grows and a
 * new second begins by itself (compare-and-swap, relaxed loads: each word stands for itself). A step
 * that lowers the level marks what it was before: a level that lasted is marked in the second in
 * which it ends. One that lasts still is in the gauges, which readers sum. */
#ifndef GRD_MARKS_H
#define GRD_MARKS_H

#include <stdint.h>

#include "layout.h"

enum {
	GRD_LEVEL_HIGHEST = (1 << (GRD_GAUGE_BITS - 1)) - 1     /* a field above that went below 0 */
};

/* Count a step in the level; `calling` and `writing` are what it adds, negative for what it takes
 * away. */
void grd_marks_step(struct grd_marks *marks, uint64_t now, int calling, int writing);

/* Mark that there were so many. */
void grd_marks_raise(struct grd_marks *marks, uint64_t now, int what, uint64_t count);

/* Set `most` to the marks of the last `seconds` whole ones and the one that is not over yet. */
void grd_marks_read(const struct grd_marks *marks, uint64_t now, uint32_t seconds, uint64_t *most);

/* The end of the last second in which anything was marked, CLOCK_MONOTONIC, ns. */
uint64_t grd_marks_last(const struct grd_marks *marks);

/* How far a level is above what the gauges hold, by field. */
void grd_level_excess(uint64_t level, uint64_t calling, uint64_t writing, int *excess);

/* Lower the level by so much; 0 if a step has been counted since it was `seen`. */
int grd_level_correct(struct grd_marks *marks, uint64_t seen, const int *excess);

#endif
