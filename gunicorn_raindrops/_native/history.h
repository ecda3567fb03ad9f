/* The last ten minutes, second by second: what the leading worker saw once in each.
 *
 * An entry is a seqlock whose sequence is its second: 0 while it is written. Two workers may keep the
 * same second while the lead changes; each figure is then one's or the other's. Seconds are Unix
 * time, so a history in a file goes on after a reboot. */
#ifndef GRD_HISTORY_H
#define GRD_HISTORY_H

#include <stdint.h>

#include "layout.h"

/* cffi: begin */
struct grd_moment {
	uint64_t second;
	uint64_t figures[GRD_HISTORY_FIGURES];  /* each 1 more than it is; 0: it is not known */
};

/* Keep a second's figures; one that needs more than 32 bits is not known. */
void grd_history_keep(struct grd_header *header, const struct grd_moment *moment);

/* List the seconds up to `last` that are kept, the oldest first; the array has room for
 * GRD_HISTORY_SECONDS. Return how many. */
uint32_t grd_history_list(const struct grd_header *header, uint64_t last,
			  struct grd_moment *moments);
/* cffi: end */

#endif
