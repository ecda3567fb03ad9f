#include "requests.h"

#include <pthread.h>

#include "atomic.h"
#include "busy.h"
#include "clock.h"
#include "histogram.h"
#include "marks.h"

enum phase { IDLE, CALLING, WRITING };

/* A process without a slot (the arbiter, a worker beyond the last slot, a child that the
 * application forked) counts here, so that the hot path has nothing to ask. */
static struct grd_header nobody;
static struct grd_slot nowhere;
static struct grd_seat nobodys = {&nobody, &nowhere, UINT64_MAX, 0};
static struct grd_seat attached;
static struct grd_seat *here = &nobodys;
static int showing = 1, keeping;

/* A request ends where it began, also if its worker gets a slot meanwhile. */
static __thread struct grd_seat *mine;
static __thread enum phase phase;
static __thread uint64_t began;
static __thread int place;

static uint64_t forks;

static void in_child(void)
{
	forks++;
	here = &nobodys;
	keeping = 0;
	phase = IDLE;
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

void grd_seat_take(struct grd_seat *seat, struct grd_header *header, struct grd_slot *slot)
{
	seat->header = header;
	seat->slot = slot;
	seat->forks = grd_forks();
	seat->taken = 0;
}

void grd_attach(struct grd_header *header, struct grd_slot *slot)
{
	grd_seat_take(&attached, header, slot);
	here = &attached;
}

void grd_state(uint32_t state)
{
	grd_set_state(here->slot, state);
}

void grd_capacity(uint64_t capacity)
{
	grd_store_relaxed(&here->slot->capacity, capacity);
}

void grd_show_current(int show)
{
	showing = show;
}

void grd_keep_current(void)
{
	keeping = 1;
}

/* The steps of a request. Its level is raised first and lowered last: see marks.h. */

static int begin_in(struct grd_seat *seat, uint64_t now, struct grd_line line)
{
	int place = showing ? grd_entry_reserve(&seat->taken) : -1;

	grd_marks_step(&seat->header->marks, now, 1, 0);
	grd_add_relaxed(&seat->slot->gauge, GRD_ONE_CALLING);
	grd_busy_begin(&seat->slot->busy, now);
	if (place >= 0)
		grd_entry_begin(&seat->slot->entries[place], now, line);
	return place;
}

static void respond_in(struct grd_seat *seat)
{
	grd_marks_step(&seat->header->marks, grd_now(), -1, 1);
	grd_add_relaxed(&seat->slot->gauge, GRD_ONE_WRITING - GRD_ONE_CALLING);
}

static void leave_place(struct grd_seat *seat, int place)
{
	if (place < 0 || keeping)
		return;
	grd_entry_end(&seat->slot->entries[place]);
	seat->taken &= ~(1u << place);
}

static void leave_in(struct grd_seat *seat, uint64_t now, enum phase from, int place)
{
	grd_busy_end(&seat->slot->busy, now);
	grd_add_relaxed(&seat->slot->gauge, 0 - (from == CALLING ? GRD_ONE_CALLING : GRD_ONE_WRITING));
	grd_marks_step(&seat->header->marks, now, -(from == CALLING), -(from == WRITING));
	leave_place(seat, place);
}

/* Take this thread's request, whatever its phase, out of the gauge. */
static void leave(uint64_t now)
{
	if (phase != IDLE)
		leave_in(mine, now, phase, place);
	phase = IDLE;
}

void grd_begin_named(struct grd_line line)
{
	uint64_t now = grd_now();

	leave(now);
	mine = here;
	place = begin_in(mine, now, line);
	began = now;
	phase = CALLING;
}

void grd_begin(void)
{
	grd_begin_named((struct grd_line){"", 0, "", 0});
}

void grd_respond(void)
{
	if (phase != CALLING)
		return;
	respond_in(mine);
	phase = WRITING;
}

void grd_fail(void)
{
	if (phase != IDLE)
		grd_add_relaxed(&mine->slot->errors, 1);
}

static void end(void)
{
	uint64_t now = grd_now();

	grd_histogram_record(&mine->slot->request, now - began);
	grd_add_relaxed(&mine->slot->requests, 1);
	leave(now);
}

static void end_with(unsigned int hundreds)
{
	if (phase == IDLE)
		return;
	grd_add_relaxed(&mine->slot->responses[hundreds - 1], 1);
	end();
}

void grd_end_1xx(void) { end_with(1); }
void grd_end_2xx(void) { end_with(2); }
void grd_end_3xx(void) { end_with(3); }
void grd_end_4xx(void) { end_with(4); }
void grd_end_5xx(void) { end_with(5); }

void grd_end_other(void)
{
	if (phase != IDLE)
		end();
}

void grd_cancel(void)
{
	leave(grd_now());
}

void grd_queued_header(uint64_t ns)
{
	grd_histogram_record(&here->slot->queue[GRD_QUEUE_HEADER], ns);
}

void grd_queued_socket(uint64_t ns)
{
	grd_histogram_record(&here->slot->queue[GRD_QUEUE_SOCKET], ns);
}

void grd_queued_ignored(void)
{
	grd_add_relaxed(&here->slot->queue_ignored, 1);
}

/* A ticket is when its request began, and below that the number of its place, 0 for none. One that
 * began while this process had no slot stays outside, also if a slot comes. */
enum { PLACE_BITS = 6, OUTSIDE = (1 << PLACE_BITS) - 1 };

_Static_assert((int)GRD_ENTRIES < OUTSIDE, "a place fits below the begin");

static uint64_t ticket_of(uint64_t now, int number)
{
	return now << PLACE_BITS | (unsigned int)number;
}

static uint64_t began_at(uint64_t ticket)
{
	return ticket >> PLACE_BITS;
}

static int number_on(uint64_t ticket)
{
	return ticket & OUTSIDE;
}

static int is_ours(const struct grd_seat *seat)
{
	return seat->forks == forks;
}

static int is_inside(const struct grd_seat *seat, uint64_t ticket)
{
	return is_ours(seat) && number_on(ticket) != OUTSIDE;
}

void grd_seat_state(struct grd_seat *seat, uint32_t state)
{
	if (is_ours(seat))
		grd_set_state(seat->slot, state);
}

uint64_t grd_seat_begin(struct grd_seat *seat, const char *method, size_t method_size,
			const char *path, size_t path_size)
{
	uint64_t now = grd_now();

	if (!is_ours(seat))
		return 0;
	return ticket_of(now, 1 + begin_in(seat, now, (struct grd_line){method, method_size,
									path, path_size}));
}

void grd_seat_respond(struct grd_seat *seat, uint64_t ticket)
{
	if (is_inside(seat, ticket))
		respond_in(seat);
}

static void count(struct grd_slot *slot, uint32_t how, uint64_t took)
{
	uint32_t hundreds = how & (GRD_WRITING - 1);

	grd_histogram_record(&slot->request, took);
	if (how & GRD_ERROR)
		grd_add_relaxed(&slot->errors, 1);
	if (hundreds >= 1 && hundreds <= 5)
		grd_add_relaxed(&slot->responses[hundreds - 1], 1);
	grd_add_relaxed(&slot->requests, 1);
}

void grd_seat_end(struct grd_seat *seat, uint64_t ticket, uint32_t how)
{
	uint64_t now = grd_now();

	if (!is_inside(seat, ticket))
		return;
	if (!(how & GRD_CANCELLED))
		count(seat->slot, how, now - began_at(ticket));
	leave_in(seat, now, how & GRD_WRITING ? WRITING : CALLING, number_on(ticket) - 1);
}

void grd_seat_fail(struct grd_seat *seat)
{
	if (is_ours(seat))
		grd_add_relaxed(&seat->slot->errors, 1);
}

int grd_seat_open(struct grd_seat *seat)
{
	if (is_ours(seat))
		grd_add_relaxed(&seat->slot->websockets, 1);
	return is_ours(seat);
}

void grd_seat_close(struct grd_seat *seat)
{
	if (is_ours(seat))
		grd_add_relaxed(&seat->slot->websockets, 0 - 1ull);
}

uint64_t grd_here_begin(struct grd_line line)
{
	uint64_t ticket = grd_seat_begin(here, line.method, line.method_size, line.path,
					 line.path_size);

	return ticket ? ticket : ticket_of(grd_now(), OUTSIDE);
}

void grd_here_respond(uint64_t ticket) { grd_seat_respond(here, ticket); }
void grd_here_end(uint64_t ticket, uint32_t how) { grd_seat_end(here, ticket, how); }
void grd_here_fail(void) { grd_seat_fail(here); }
int grd_here_open(void) { return grd_seat_open(here); }
void grd_here_close(void) { grd_seat_close(here); }
