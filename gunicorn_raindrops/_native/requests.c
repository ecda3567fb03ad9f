#include "requests.h"

#include <pthread.h>
#include <string.h>

#include "atomic.h"
#include "busy.h"
#include "clock.h"
#include "histogram.h"
#include "marks.h"
#include "scoreboard.h"

enum phase { IDLE, CALLING, WRITING };

/* A process without a slot (the arbiter, a worker beyond the last slot, a child that the
 * application forked) counts here, so the hot path needs no check. */
static struct grd_header nobodys_header;
static struct grd_slot nobodys_slot;
static struct grd_held nobodys = {.header = &nobodys_header, .slot = &nobodys_slot,
				  .forks = UINT64_MAX, .entries = nobodys_slot.entries};
static struct grd_entry hidden[GRD_ENTRIES];
static struct grd_flight over[GRD_OVER];        /* slow requests that have ended */
static uint64_t keep_after;
static struct grd_held attached;
static struct grd_held *current = &nobodys;
static int showing = 1, keeping;

/* The request of a thread. It ends where it began: nowhere, if its worker attached its slot only
 * since. A process attaches one slot in its life. */
struct request {
	struct grd_held *held;
	enum phase phase;
	int entry;
	uint64_t began;
};

static __thread struct request this_threads;

static uint64_t forks;

static void in_child(void)
{
	forks++;
	current = &nobodys;
	keeping = 0;
	this_threads.phase = IDLE;
}

/* Not os.register_at_fork: a server or an extension written in C forks without Python's
 * knowledge. */
uint64_t grd_forks(void)
{
	static int watching;

	if (!watching)
		watching = !pthread_atfork(NULL, NULL, in_child);
	return forks;
}

void grd_hold(struct grd_held *held, struct grd_header *header, struct grd_slot *slot)
{
	*held = (struct grd_held){.header = header, .slot = slot, .forks = grd_forks(),
				  .entries = showing ? slot->entries : NULL};
}

void grd_hold_nothing(struct grd_held *held)
{
	*held = nobodys;
	held->reserved = 0;
}

void grd_attach(struct grd_header *header, struct grd_slot *slot)
{
	grd_hold(&attached, header, slot);
	if (!attached.entries)
		attached.entries = hidden;
	attached.slow = keep_after;
	current = &attached;
}

void grd_detach(void)
{
	grd_hold_nothing(&attached);
	current = &nobodys;
}

struct grd_held *grd_attached(void)
{
	return current;
}

void grd_state(uint32_t state)
{
	grd_set_state(current->slot, state);
}

void grd_capacity(uint64_t capacity)
{
	grd_store_relaxed(&current->slot->capacity, capacity);
}

void grd_show_current(int show)
{
	showing = show;
}

void grd_keep_current(void)
{
	keeping = 1;
}

/* The steps, in the order that marks.h and busy.h need: a begin raises the level of the marks, then
 * busy, then the gauge; an end lowers the gauge, reads the clock, then adds to busy, then lowers
 * the level. */

static int begin_in(struct grd_held *held, uint64_t now, struct grd_line line)
{
	int entry = held->entries ? grd_entry_reserve(&held->reserved) : -1;

	grd_marks_step(&held->header->marks, now, 1, 0);
	grd_busy_begin(held->slot, now);
	grd_add_release(&held->slot->gauge, GRD_ONE_CALLING);
	if (entry >= 0) {
		held->threads[entry] = (uint64_t)pthread_self();
		grd_entry_begin(&held->entries[entry], now, line);
	}
	return entry;
}

static void respond_in(struct grd_held *held)
{
	grd_marks_step(&held->header->marks, grd_now(), -1, 1);
	grd_add_release(&held->slot->gauge, GRD_ONE_WRITING - GRD_ONE_CALLING);
}

static void free_entry(struct grd_held *held, int entry)
{
	if (entry < 0 || keeping)
		return;
	grd_entry_end(&held->entries[entry]);
	held->reserved &= ~(1u << entry);
}

/* Returns the instant. */
static uint64_t leave_in(struct grd_held *held, enum phase from, int entry)
{
	uint64_t one = from == CALLING ? GRD_ONE_CALLING : GRD_ONE_WRITING, now;

	grd_busy_step(held->slot, grd_now());
	grd_add_seq_cst(&held->slot->gauge, 0 - one);
	now = grd_now();
	grd_busy_end(held->slot, now);
	grd_marks_step(&held->header->marks, now, -(from == CALLING), -(from == WRITING));
	free_entry(held, entry);
	return now;
}

/* A ticket is the instant of its request's begin, and below that a number:
 * 1 + its entry, or that it has no entry, or that the gauge had no room for it, or that it began
 * where nobody counts. The instant goes round every 9 years of uptime, and so does the subtraction of
 * one from another: only a request that takes so long would be told wrong. No number is 0, so no
 * ticket is. */

enum {
	NUMBER_BITS = 6,
	NO_ENTRY = GRD_ENTRIES + 1,
	NO_ROOM,
	OUTSIDE = (1 << NUMBER_BITS) - 1
};

#define INSTANTS ((1ull << (64 - NUMBER_BITS)) - 1)

_Static_assert((int)NO_ROOM < (int)OUTSIDE, "an entry's number fits below the instant");

static uint64_t ticket_of(uint64_t now, unsigned int number)
{
	return now << NUMBER_BITS | number;
}

static unsigned int number_on(uint64_t ticket)
{
	return ticket & OUTSIDE;
}

static int entry_on(uint64_t ticket)
{
	return number_on(ticket) == NO_ENTRY ? -1 : (int)number_on(ticket) - 1;
}

static unsigned int number_of(int entry)
{
	return entry < 0 ? NO_ENTRY : 1 + (unsigned int)entry;
}

static uint64_t since(uint64_t ticket, uint64_t now)
{
	return (now - (ticket >> NUMBER_BITS)) & INSTANTS;
}

/* Whether a request that has ended is to be kept for the status thread. */
static int is_slow(const struct grd_held *held, uint64_t took)
{
	return held->slow && took >= held->slow;
}

static void keep_over(struct grd_held *held, uint64_t ticket, int entry, uint64_t took)
{
	struct grd_flight *kept = &over[held->ended++ % GRD_OVER];

	*kept = (struct grd_flight){.ticket = ticket, .age = took};
	if (entry >= 0 && entry < GRD_ENTRIES)
		grd_entry_copy(&kept->entry, &held->entries[entry]);
}

static void count(struct grd_slot *slot, unsigned int hundreds)
{
	if (hundreds >= 1 && hundreds <= GRD_RESPONSE_CLASSES)
		grd_add_relaxed(&slot->responses[hundreds - 1], 1);
	grd_add_relaxed(&slot->requests, 1);
}

static void count_error(struct grd_slot *slot)
{
	grd_add_relaxed(&slot->errors, 1);
}

/* The request of this thread. */

/* Take it, whatever its phase, out of the gauge; returns the instant. */
static uint64_t leave(struct request *request)
{
	enum phase phase = request->phase;

	request->phase = IDLE;
	return phase == IDLE ? grd_now() : leave_in(request->held, phase, request->entry);
}

void grd_begin(struct grd_line line)
{
	struct request *request = &this_threads;
	uint64_t now = leave(request);

	request->held = current;
	request->entry = begin_in(current, now, line);
	request->began = now;
	request->phase = CALLING;
}

void grd_respond(void)
{
	struct request *request = &this_threads;

	if (request->phase != CALLING)
		return;
	respond_in(request->held);
	request->phase = WRITING;
}

void grd_fail(void)
{
	if (this_threads.phase != IDLE)
		count_error(this_threads.held->slot);
}

void grd_end(unsigned int hundreds)
{
	struct request *request = &this_threads;
	uint64_t took;

	if (request->phase == IDLE)
		return;
	count(request->held->slot, hundreds);
	took = leave(request) - request->began;
	grd_histogram_record(&request->held->slot->request, took);
	if (is_slow(request->held, took))
		keep_over(request->held, ticket_of(request->began, number_of(request->entry)),
			  request->entry, took);
}

void grd_cancel(void)
{
	leave(&this_threads);
}

int grd_is_ticket(uint64_t number)
{
	return number_on(number) == OUTSIDE ||
	       (number_on(number) >= 1 && number_on(number) <= NO_ROOM);
}

int grd_is_ours(const struct grd_held *held)
{
	return held->forks == forks;
}

static int is_inside(const struct grd_held *held, uint64_t ticket)
{
	return grd_is_ours(held) && number_on(ticket) != OUTSIDE;
}

/* The fields of the gauge and of busy would run over into their neighbours. Threads of one process
 * hold the GIL here, so the count stays below its most. */
static int is_full(const struct grd_held *held)
{
	return grd_busy_in_flight(grd_load_relaxed(&held->slot->busy)) == GRD_MOST_IN_FLIGHT;
}

uint64_t grd_ticket_outside(void)
{
	return ticket_of(grd_now(), OUTSIDE);
}

uint64_t grd_ticket_begin(struct grd_held *held, struct grd_line line)
{
	uint64_t now = grd_now();
	int entry;

	if (!grd_is_ours(held))
		return 0;
	if (is_full(held))
		return ticket_of(now, NO_ROOM);
	entry = begin_in(held, now, line);
	return ticket_of(now, number_of(entry));
}

void grd_ticket_respond(struct grd_held *held, uint64_t ticket)
{
	if (is_inside(held, ticket) && number_on(ticket) != NO_ROOM)
		respond_in(held);
}

void grd_ticket_end(struct grd_held *held, uint64_t ticket, unsigned int how)
{
	int is_counted = !(how & GRD_CANCELLED);
	enum phase phase = how & GRD_WRITING ? WRITING : CALLING;
	uint64_t now;

	if (!is_inside(held, ticket))
		return;
	if (how & GRD_ERROR && is_counted)
		count_error(held->slot);
	if (is_counted)
		count(held->slot, how & GRD_HUNDREDS);
	now = number_on(ticket) == NO_ROOM ? grd_now() : leave_in(held, phase, entry_on(ticket));
	if (!is_counted)
		return;
	grd_histogram_record(&held->slot->request, since(ticket, now));
	if (is_slow(held, since(ticket, now)))
		keep_over(held, ticket, entry_on(ticket), since(ticket, now));
}

/* Looks at requests in flight. The caller holds the GIL, so none begins or ends meanwhile. */

int grd_flights(const struct grd_held *held, uint64_t least, struct grd_flight flights[GRD_ENTRIES])
{
	uint64_t now = grd_now();
	int found = 0;

	if (!grd_is_ours(held) || !held->entries)
		return 0;
	for (unsigned int i = 0; i < GRD_ENTRIES; i++) {
		uint64_t began = grd_load_relaxed(&held->entries[i].began);
		struct grd_flight *flight = &flights[found];

		if (!began || now - began < least ||
		    !grd_entry_copy(&flight->entry, &held->entries[i]))
			continue;
		flight->ticket = ticket_of(began, number_of((int)i));
		flight->thread = held->threads[i];
		flight->age = now - began;
		found++;
	}
	return found;
}

int grd_say_where(const struct grd_held *held, uint64_t ticket, const char *where, size_t size)
{
	int entry = entry_on(ticket);
	uint64_t began;

	if (!is_inside(held, ticket) || !held->entries || entry < 0 || entry >= GRD_ENTRIES)
		return 0;
	began = grd_load_relaxed(&held->entries[entry].began);
	if (!began || ticket_of(began, number_on(ticket)) != ticket)
		return 0;
	return grd_entry_look(&held->entries[entry], began, where, size);
}

void grd_keep_slow(uint64_t slow)
{
	keep_after = slow;
	attached.slow = slow;
}

uint64_t grd_fetch_over(struct grd_flight flights[GRD_OVER])
{
	uint64_t count = attached.ended;

	memcpy(flights, over, sizeof(over));
	attached.ended = 0;
	return count;
}

uint64_t grd_ticket_age(uint64_t ticket)
{
	return since(ticket, grd_now());
}

uint64_t grd_in_flight(const struct grd_held *held)
{
	return grd_is_ours(held) ? grd_busy_in_flight(grd_load_relaxed(&held->slot->busy)) : 0;
}

/* What else a slot's owner counts. */

void grd_held_state(struct grd_held *held, uint32_t state)
{
	if (grd_is_ours(held))
		grd_set_state(held->slot, state);
}

void grd_held_fail(struct grd_held *held)
{
	if (grd_is_ours(held))
		count_error(held->slot);
}

int grd_held_open(struct grd_held *held)
{
	if (grd_is_ours(held))
		grd_add_relaxed(&held->slot->websockets, 1);
	return grd_is_ours(held);
}

void grd_held_close(struct grd_held *held)
{
	if (grd_is_ours(held))
		grd_add_relaxed(&held->slot->websockets, 0 - 1ull);
}

void grd_queued_socket(uint64_t ns)
{
	grd_histogram_record(&current->slot->queue[GRD_QUEUE_SOCKET], ns);
}

void grd_queued_header(uint64_t ns)
{
	grd_histogram_record(&current->slot->queue[GRD_QUEUE_HEADER], ns);
}

void grd_queued_ignored(void)
{
	grd_add_relaxed(&current->slot->queue_ignored, 1);
}

void grd_turned(uint64_t late)
{
	grd_store_relaxed(&current->slot->late, late);
	grd_store_relaxed(&current->slot->turned, grd_now());
}
