/* The entries of a slot: method, path and begin of a few of its requests in flight, and what those
 * that are slow were last seen doing.
 *
 * An entry is a seqlock with one writer at a time: the thread or request that has reserved it. Its
 * turn is odd while it is written. A reader takes a copy only if the turn was even, and the same
 * before and after; a writer that is killed in between leaves nothing to be read. A request ends by
 * one store: `began` becomes 0.
 *
 * What it was doing is a second seqlock, written by the owner's status thread, about once a second
 * and only for a slow request. `looked` is the turn of the entry that was looked at. So a text is of
 * no later request, and a begin need not clear it. The thread holds the GIL, so the entry keeps its
 * request meanwhile.
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

/* Say what the request was doing that began at this instant; 0 if the entry has another one. The
 * text is cut to the room for it. */
int grd_entry_look(struct grd_entry *entry, uint64_t began, const char *where, size_t size);

/* Copy an entry; 0 if it was just being written. */
int grd_entry_copy(struct grd_entry *copy, const struct grd_entry *entry);

/* Copy the request that began first; 0 if there is none. */
int grd_entry_oldest(struct grd_entry *copy, const struct grd_entry *entries);

/* Free all entries of a slot, which were a dead owner's. */
void grd_entries_clear(struct grd_entry *entries);

#endif
