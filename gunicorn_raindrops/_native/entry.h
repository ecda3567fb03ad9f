/* What the requests in flight are: a few places in each slot, each with one request's method, path
 * and begin.
 *
 * A place has one writer at a time, the thread or request that has taken it. Its turn is odd while
 * it is written, so a reader takes only what stood still meanwhile; a writer that is killed there
 * leaves nothing to be read. The end of a request is the one word `began`, back to 0.
 *
 * There is no room for a query string, a header or a body, and none ever comes here. */
#ifndef GRD_CURRENT_H
#define GRD_CURRENT_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct grd_line {               /* of a request */
	const char *method;
	size_t method_size;
	const char *path;
	size_t path_size;
};

/* Take a place out of those that are not taken; -1 when all are. `taken` is private to a process,
 * whose threads are here one at a time: they hold the GIL. */
static inline int grd_entry_reserve(uint32_t *taken)
{
	int place = ~*taken ? __builtin_ctz(~*taken) : -1;

	if (place >= 0)
		*taken |= 1u << place;
	return place;
}

void grd_entry_begin(struct grd_entry *place, uint64_t now, struct grd_line line);
void grd_entry_end(struct grd_entry *place);

/* Copy the request that began first; 0 if there is none. */
int grd_entry_oldest(struct grd_entry *copy, const struct grd_entry *places);

/* Empty all places: whoever was there is dead. */
void grd_entries_clear(struct grd_entry *places);

#endif
