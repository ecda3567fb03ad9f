/* The steps of a request, counted in a slot by the process that holds it.
 *
 * The phase of a request is kept in one of two places: with its thread, where a server gives each
 * request a thread; by the caller, with a ticket, everywhere else. Either way a step is a few
 * atomic additions to lines that only the slot's owner writes to, and one to the line of the
 * marks. */
#ifndef GRD_REQUESTS_H
#define GRD_REQUESTS_H

#include <stdint.h>

#include "entry.h"
#include "layout.h"

enum { GRD_OVER = 64 };                 /* slow requests that have ended, until they are fetched */

/* A request that the process which counts it knows of. */
struct grd_flight {
	uint64_t ticket;        /* also of one that was begun without */
	uint64_t thread;        /* that has begun it; 0: it has no entry */
	uint64_t age;           /* ns */
	struct grd_entry entry;
};

/* A slot as its owner holds it. Memory that forks is the child's as well, so a held slot records
 * how many forks are behind the process that took it over. In any later process it counts nothing.
 * A child thus never ends its parent's requests, and learns at its own first request that it needs
 * a slot of its own. */
struct grd_held {
	struct grd_header *header;
	struct grd_slot *slot;
	uint64_t forks;
	struct grd_entry *entries;      /* the slot's, or private ones */
	uint32_t reserved;      /* entries, a bit each */
	uint64_t threads[GRD_ENTRIES];  /* that have begun the request of an entry: pthread_self */
	uint64_t slow;          /* ns; a request that lasts so long is kept when it ends; 0: none is */
	uint64_t ended;         /* how many were kept since they were fetched */
};

uint64_t grd_forks(void);               /* behind this process, since the first such question */
void grd_hold(struct grd_held *held, struct grd_header *header, struct grd_slot *slot);
void grd_hold_nothing(struct grd_held *held);   /* what is counted there is lost */

/* The slot that this process has attached; without one, as in a child, one that is nobody's. */
void grd_attach(struct grd_header *header, struct grd_slot *slot);
void grd_detach(void);
struct grd_held *grd_attached(void);

/* What the attached slot's owner says of itself. */
void grd_state(uint32_t state);
void grd_capacity(uint64_t capacity);

/* Whether the requests in flight of slots that are held from now on are shown: methods and paths.
 * If not, those of the attached slot are kept in this process's own memory. */
void grd_show_current(int show);

/* Keep from now on what this process's requests in flight were, also when they end: it is aborted,
 * and the arbiter will ask what it was doing. */
void grd_keep_current(void);

/* One request of this thread, in the attached slot. Each function does nothing unless the thread
 * is in the phase that it ends, so an end without a begin, or a second end, counts nothing. */
void grd_begin(struct grd_line line);   /* calling */
void grd_respond(void);                 /* calling -> writing */
void grd_fail(void);                    /* the request ends in an error: before its end */
void grd_end(unsigned int hundreds);    /* its status's class, 1 to 5; 0: none or another */
void grd_cancel(void);                  /* it never reached the application */

enum {                                  /* how a request with a ticket ends: hundreds, and */
	GRD_HUNDREDS = 7,
	GRD_WRITING = 1 << 3,           /* it was writing, else calling */
	GRD_ERROR = 1 << 4,             /* its application raised */
	GRD_CANCELLED = 1 << 5,         /* it never reached the application: no totals */
	GRD_HOWS = 1 << 6
};

/* Requests with a ticket: many of them interleave on one thread (asyncio, greenlets), or one moves
 * between threads. No function here asks which phase a request is in: begin, then respond at most
 * once, then end once, with the ticket that the begin gave. */
uint64_t grd_ticket_begin(struct grd_held *held, struct grd_line line); /* 0: it is not held */
void grd_ticket_respond(struct grd_held *held, uint64_t ticket);        /* calling -> writing */
void grd_ticket_end(struct grd_held *held, uint64_t ticket, unsigned int how);
uint64_t grd_ticket_outside(void);      /* for a request that counts nowhere */
int grd_is_ticket(uint64_t number);     /* whether it can be one: it leads to no bad memory */

int grd_is_ours(const struct grd_held *held);   /* not one that a fork has copied into a child */
void grd_held_state(struct grd_held *held, uint32_t state);
void grd_held_fail(struct grd_held *held);      /* a request that has ended was an error */
int grd_held_open(struct grd_held *held);       /* a websocket; whether it counts */
void grd_held_close(struct grd_held *held);

/* List those with an entry that have lasted so long, ns, in no order; return how many. */
int grd_flights(const struct grd_held *held, uint64_t least, struct grd_flight flights[GRD_ENTRIES]);

/* Say what a request was doing; 0 if it is over. */
int grd_say_where(const struct grd_held *held, uint64_t ticket, const char *where, size_t size);

/* Keep the requests of the attached slot that end after so long, ns, from now on. */
void grd_keep_slow(uint64_t slow);

/* Fetch those that have ended since the last time, at most GRD_OVER; return how many there were. */
uint64_t grd_fetch_over(struct grd_flight flights[GRD_OVER]);

uint64_t grd_ticket_age(uint64_t ticket);       /* ns since its request began */

/* How many requests are in flight, with an entry or without. */
uint64_t grd_in_flight(const struct grd_held *held);

/* How long a request of this process waited before it began, by source. */
void grd_queued_socket(uint64_t ns);
void grd_queued_header(uint64_t ns);
void grd_queued_ignored(void);          /* a header said no time that can be */
void grd_turned(uint64_t late);         /* the status thread has its turn, so many ns late */

#endif
