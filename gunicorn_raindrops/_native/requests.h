/* The steps of a request, counted in the slot of the process that serves it.
 *
 * Two ways to keep its phase: the thread's, for servers that give a request a thread; the caller's,
 * by a ticket, for all others. Either way a step is a few atomic additions to lines that only this
 * slot's owner writes to, and two to the line of the marks. */
#ifndef GRD_REQUESTS_H
#define GRD_REQUESTS_H

#include <stdint.h>

#include "entry.h"
#include "layout.h"
#include "scoreboard.h"

/* cffi: begin */
/* One request of this thread, in the slot that this process has attached. Each function does
 * nothing unless the thread is in the phase that it ends, so that an end without a begin, or a
 * second end, counts nothing. */
void grd_attach(struct grd_header *header, struct grd_slot *slot);
void grd_state(uint32_t state);         /* of the attached slot */
void grd_capacity(uint64_t capacity);   /* the same, where it is known only later */
void grd_begin(void);                   /* calling */
void grd_respond(void);                 /* calling -> writing */
void grd_fail(void);                    /* the request ends in an error: before its end */
void grd_end_1xx(void);
void grd_end_2xx(void);
void grd_end_3xx(void);
void grd_end_4xx(void);
void grd_end_5xx(void);
void grd_end_other(void);
void grd_cancel(void);                  /* it never reached the application */

/* Requests whose phase the caller keeps, each in an object of its own: where many of them
 * interleave on one thread (asyncio, greenlets), or one of them moves between threads.
 *
 * A seat is a slot as its owner holds it. Memory that forks is the child's as well, so a seat
 * knows how many forks are behind the process that took it: in any later process it is nobody's,
 * grd_seat_begin says 0, and the rest does nothing. A child thus never ends its parent's requests,
 * and learns at its first own one that it needs a slot of its own. No function here asks which
 * phase the request is in: begin, then respond at most once, then end once, with the ticket that
 * the begin gave. */
struct grd_seat {
	struct grd_header *header;
	struct grd_slot *slot;
	uint64_t forks;
	uint32_t taken;         /* places, a bit each */
};

enum {                                  /* how a request ends: 1 to 5, its status's class, or 0 */
	GRD_WRITING = 1 << 3,           /* it was writing, else calling */
	GRD_ERROR = 1 << 4,             /* its application raised */
	GRD_CANCELLED = 1 << 5          /* it never reached the application: no totals */
};

uint64_t grd_forks(void);               /* behind this process, since the first such question */
void grd_seat_take(struct grd_seat *seat, struct grd_header *header, struct grd_slot *slot);
void grd_seat_state(struct grd_seat *seat, uint32_t state);
/* Calling; returns the request's ticket, 0 in any process but the seat's. */
uint64_t grd_seat_begin(struct grd_seat *seat, const char *method, size_t method_size,
			const char *path, size_t path_size);
void grd_seat_respond(struct grd_seat *seat, uint64_t ticket);          /* calling -> writing */
void grd_seat_end(struct grd_seat *seat, uint64_t ticket, uint32_t how);
void grd_seat_fail(struct grd_seat *seat);              /* one that has ended was an error */
int grd_seat_open(struct grd_seat *seat);               /* a websocket; whether it counts */
void grd_seat_close(struct grd_seat *seat);

/* The same in the slot that this process has attached. Without one, as in a child, they count
 * nowhere. */
void grd_here_respond(uint64_t ticket);
void grd_here_end(uint64_t ticket, uint32_t how);
void grd_here_fail(void);
int grd_here_open(void);
void grd_here_close(void);

/* Whether requests in flight are to be shown from now on: methods and paths. */
void grd_show_current(int show);

/* Keep from now on what this process's requests in flight were, also when they end: it is aborted,
 * and somebody will ask what for. */
void grd_keep_current(void);

/* How long a request of this process has waited before it was begun, by source. */
void grd_queued_socket(uint64_t ns);
void grd_queued_header(uint64_t ns);
void grd_queued_ignored(void);          /* there was no telling */

/* Append builtins to a list: begin(method="", path="", fd=-1), which begins this thread's request,
 * and begin_here, the same for a request that has a ticket, never 0, which it returns. Both record
 * how long the connection `fd`, if it is TCP, has had its last data. Then respond_here(ticket) and
 * end_here(ticket, how), the functions below under builtins' quicker call, with what begin_here
 * gave; and queued_since(text), which records how long ago an instant was, see instant.h. `list` is
 * an id(), as in counters.h; -1 if there is no memory. */
int grd_bind_begin(uintptr_t list);
/* cffi: end */

void grd_begin_named(struct grd_line line);
uint64_t grd_here_begin(struct grd_line line);

#endif
