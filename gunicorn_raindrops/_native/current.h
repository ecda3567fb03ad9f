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

/* cffi: begin */
enum {
	GRD_CURRENT_PLACES = 32,        /* of a slot; more requests than these have none */
	GRD_CURRENT_METHOD = 20,        /* bytes of a method at most, RFC 9110 has 7 */
	GRD_CURRENT_TEXT = 104          /* bytes of method and path together */
};

struct grd_current {
	uint64_t turn;
	uint64_t began;         /* CLOCK_MONOTONIC, ns; 0: nobody is here */
	uint8_t method;         /* its length; it begins the text */
	uint8_t path;           /* the length of the path, which follows */
	uint8_t cut;            /* the path was longer than that */
	uint8_t spare[5];
	char text[104];         /* bytes as the server has them, UTF-8 mostly */
};
/* cffi: end */

struct grd_line {               /* of a request */
	const char *method;
	size_t method_size;
	const char *path;
	size_t path_size;
};

/* Take a place out of those that are not taken; -1 when all are. `taken` is private to a process,
 * whose threads are here one at a time: they hold the GIL. */
static inline int grd_current_take(uint32_t *taken)
{
	int place = ~*taken ? __builtin_ctz(~*taken) : -1;

	if (place >= 0)
		*taken |= 1u << place;
	return place;
}

void grd_current_begin(struct grd_current *place, uint64_t now, struct grd_line line);
void grd_current_end(struct grd_current *place);

/* Copy the request that began first; 0 if there is none. */
int grd_current_oldest(struct grd_current *copy, const struct grd_current *places);

/* Empty all places: whoever was there is dead. */
void grd_current_clear(struct grd_current *places);

#endif
