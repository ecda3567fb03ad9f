/* The entries of a slot: method, path and begin of a few of its requests in flight.
 *
 * An entry is a seqlock with one writer at a time: the thread or request that has reserved it. Its
 * turn is odd while it is written. A reader takes a copy only if the turn was even, and the same
 * before and after; a writer that is killed in between leaves nothing to be read. A request ends by
 * one store: `began` becomes 0.
 *
 * There is no room for a query string, a header or a body. */
#ifndef GRD_ENTRY_H
#define GRD_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct grd_line {               /* of a request */
	const char *method;
	size_t method_size;
	const char *path;
	size_t path_size;
};

/* Reserve an entry and return its index; -1 if none is left. `taken`, a bit for each entry, is
 * private to a process, whose threads hold the GIL here. */
static inline int grd_entry_reserve(uint32_t *taken)
{
	int index = ~*taken ? __builtin_ctz(~*taken) : -1;

	if (index >= 0)
		*taken |= 1u << index;
	return index;
}

void grd_entry_begin(struct grd_entry *entry, uint64_t now, struct grd_line line);
void grd_entry_end(struct grd_entry *entry);

/* Copy the request that began first; 0 if there is none. */
int grd_entry_oldest(struct grd_entry *copy, const struct grd_entry *entries);

/* Free all entries of a slot, which were a dead owner's. */
void grd_entries_clear(struct grd_entry *entries);

#endif
