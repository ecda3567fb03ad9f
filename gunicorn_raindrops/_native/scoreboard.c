#include "scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "atomic.h"

#define BITS(n) ((1ull << (n)) - 1)
#define PID_MASK BITS(GRD_PID_BITS)
#define STATE_SHIFT GRD_PID_BITS
#define STATE_MASK (BITS(GRD_STATE_BITS) << STATE_SHIFT)
#define TAG_SHIFT (GRD_PID_BITS + GRD_STATE_BITS)
#define TAG_MASK (BITS(GRD_TAG_BITS) << TAG_SHIFT)
#define GENERATION_MASK (~BITS(GRD_GENERATION_SHIFT))
#define ONE_GENERATION (1ull << GRD_GENERATION_SHIFT)

#define ONE_WRITING 1ull
#define ONE_CALLING (1ull << GRD_GAUGE_BITS)

_Static_assert(TAG_SHIFT + GRD_TAG_BITS == GRD_GENERATION_SHIFT, "an owner fills its word");
_Static_assert(2 * GRD_GAUGE_BITS == GRD_GENERATION_SHIFT, "a gauge fills its word");
_Static_assert(offsetof(struct grd_slot, gauge) == 64, "the worker writes a line of its own");
_Static_assert(sizeof(struct grd_slot) == 128, "slots are whole lines");

enum { SETTLE_TRIES = 8 };

enum phase { IDLE, CALLING, WRITING };

/* A process without a slot (the arbiter, a worker beyond the last slot, a child that the
 * application forked) counts here, so that the hot path has nothing to ask. */
static struct grd_slot nowhere;
static struct grd_slot *here = &nowhere;

/* A request ends where it began, also if its worker gets a slot meanwhile. */
static __thread struct grd_slot *mine;
static __thread enum phase phase;

static uint32_t state_of(uint64_t owner)
{
	return (owner & STATE_MASK) >> STATE_SHIFT;
}

static uint64_t with_state(uint64_t owner, uint64_t state)
{
	return (owner & ~STATE_MASK) | (state << STATE_SHIFT);
}

static uint64_t freed(uint64_t owner)
{
	return owner & GENERATION_MASK;
}

uint64_t grd_who(uint32_t pid, uint64_t start)
{
	return (pid & PID_MASK) | ((start << TAG_SHIFT) & TAG_MASK);
}

int64_t grd_claim(struct grd_slot *slots, uint32_t count, uint64_t who)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t owner = grd_atomic_acquire(&slots[i].owner);
		uint64_t claimed;

		if (state_of(owner) != GRD_FREE)
			continue;
		claimed = with_state(freed(owner) + ONE_GENERATION, GRD_CLAIMED) | who;
		/* lost to another arbiter: its slot, the next one may be ours */
		if (grd_atomic_swap(&slots[i].owner, owner, claimed))
			return i;
	}
	return -1;
}

int64_t grd_find_claimed(struct grd_slot *slots, uint32_t count, uint64_t who)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t owner = grd_atomic_acquire(&slots[i].owner);

		if (owner == (with_state(freed(owner), GRD_CLAIMED) | who))
			return i;
	}
	return -1;
}

uint64_t grd_owner(struct grd_slot *slot)
{
	return grd_atomic_acquire(&slot->owner);
}

int grd_take(struct grd_slot *slot, uint64_t claimed, const struct grd_row *owner)
{
	if (grd_atomic_acquire(&slot->owner) != claimed)
		return 0;       /* freed since, and perhaps another's: not ours to write to */
	grd_atomic_store(&slot->start, owner->start);
	grd_atomic_store(&slot->age, owner->age);
	grd_atomic_store(&slot->started, owner->started);
	grd_atomic_store(&slot->capacity, owner->capacity);
	grd_atomic_store(&slot->gauge, claimed & GENERATION_MASK);
	grd_atomic_store(&slot->websockets, claimed & GENERATION_MASK);
	grd_atomic_store(&slot->base, grd_atomic_load(&slot->requests));
	/* publishes all of these */
	return grd_atomic_swap(&slot->owner, claimed,
			       with_state(freed(claimed), GRD_STARTING) | owner->owner);
}

int grd_free(struct grd_slot *slot, uint64_t owner)
{
	return grd_atomic_swap(&slot->owner, owner, freed(owner));
}

int grd_free_generation(struct grd_slot *slot, uint64_t owner)
{
	for (int i = 0; i < SETTLE_TRIES; i++) {
		uint64_t now = grd_atomic_acquire(&slot->owner);

		if (freed(now) != freed(owner) || state_of(now) == GRD_FREE)
			return 0;
		if (grd_free(slot, now))
			return 1;
	}
	return 0;
}

void grd_add_untracked(struct grd_header *header, int64_t n)
{
	grd_atomic_add(&header->untracked, (uint64_t)n);
}

static void sum(const struct grd_slot *slot, struct grd_totals *totals)
{
	totals->requests += grd_atomic_load(&slot->requests);
	for (int i = 0; i < 5; i++)
		totals->responses[i] += grd_atomic_load(&slot->responses[i]);
	totals->errors += grd_atomic_load(&slot->errors);
}

/* What an earlier owner has left counts as nothing. */
static uint64_t gauge_of(const uint64_t *at, uint64_t owner)
{
	uint64_t gauge = grd_atomic_load(at);

	return freed(gauge) == freed(owner) ? gauge & ~GENERATION_MASK : 0;
}

static void look(const struct grd_slot *slot, uint64_t owner, struct grd_row *row)
{
	uint64_t gauge = gauge_of(&slot->gauge, owner);

	row->owner = owner;
	row->state = state_of(owner);
	row->pid = owner & PID_MASK;
	row->tag = (owner & TAG_MASK) >> TAG_SHIFT;
	row->start = grd_atomic_load(&slot->start);
	row->age = grd_atomic_load(&slot->age);
	row->started = grd_atomic_load(&slot->started);
	row->capacity = grd_atomic_load(&slot->capacity);
	row->requests = grd_atomic_load(&slot->requests) - grd_atomic_load(&slot->base);
	row->calling = (gauge >> GRD_GAUGE_BITS) & BITS(GRD_GAUGE_BITS);
	row->writing = gauge & BITS(GRD_GAUGE_BITS);
	row->websockets = gauge_of(&slot->websockets, owner);
}

/* Read what stands beside an owner while that owner stays the same. A slot that changes hands
 * faster than this has no worker to show. */
static int settle(const struct grd_slot *slot, struct grd_row *row)
{
	for (int i = 0; i < SETTLE_TRIES; i++) {
		uint64_t owner = grd_atomic_acquire(&slot->owner);

		if (state_of(owner) == GRD_FREE)
			return 0;
		look(slot, owner, row);
		grd_atomic_fence();
		if (grd_atomic_load(&slot->owner) == owner)
			return 1;
	}
	return 0;
}

uint32_t grd_read(struct grd_slot *slots, uint32_t count,
		  struct grd_row *rows, struct grd_totals *totals)
{
	uint32_t used = 0;

	*totals = (struct grd_totals){0};
	for (uint32_t i = 0; i < count; i++) {
		if (settle(&slots[i], &rows[used]))
			rows[used++].slot = i;
		sum(&slots[i], totals);
	}
	return used;
}

/* proc_pid_stat(5): "pid (comm) state ppid ...", comm may hold anything, starttime is field 22. */
static int64_t parse_start(const char *stat)
{
	enum { FROM_STATE_TO_START = 22 - 3 };
	const char *at = strrchr(stat, ')');

	if (!at || at[1] != ' ')
		return 0;
	at += 2;
	if (*at == 'Z' || *at == 'X')
		return -1;
	for (int i = 0; at && i < FROM_STATE_TO_START; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoll(at, NULL, 10) : 0;
}

static ssize_t read_stat(uint32_t pid, char *stat, size_t size)
{
	char path[32];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	got = read(fd, stat, size);
	close(fd);
	return got;
}

int64_t grd_process_start(uint32_t pid)
{
	char stat[1024];
	ssize_t got;

	if (pid == 0)           /* kill(2) would take it for our own group */
		return -1;
	got = read_stat(pid, stat, sizeof(stat) - 1);
	if (got > 0) {
		stat[got] = 0;
		return parse_start(stat);
	}
	/* no /proc, or it hides others' processes (hidepid): EPERM means that there is one */
	return kill((pid_t)pid, 0) < 0 && errno == ESRCH ? -1 : 0;
}

static uint64_t forks;

static void in_child(void)
{
	forks++;
	here = &nowhere;
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

void grd_attach(struct grd_slot *slot)
{
	grd_forks();
	here = slot;
}

static void set_state(struct grd_slot *slot, uint32_t state)
{
	for (int i = 0; i < SETTLE_TRIES; i++) {
		uint64_t owner = grd_atomic_acquire(&slot->owner);

		if (grd_atomic_swap(&slot->owner, owner, with_state(owner, state)))
			return;
	}
}

void grd_state(uint32_t state)
{
	set_state(here, state);
}

void grd_capacity(uint64_t capacity)
{
	grd_atomic_store(&here->capacity, capacity);
}

/* Take this thread's request, whatever its phase, out of the gauge. */
static void leave(void)
{
	if (phase != IDLE)
		grd_atomic_add(&mine->gauge, 0 - (phase == CALLING ? ONE_CALLING : ONE_WRITING));
	phase = IDLE;
}

void grd_begin(void)
{
	leave();
	mine = here;
	grd_atomic_add(&mine->gauge, ONE_CALLING);
	phase = CALLING;
}

void grd_respond(void)
{
	if (phase != CALLING)
		return;
	grd_atomic_add(&mine->gauge, ONE_WRITING - ONE_CALLING);
	phase = WRITING;
}

void grd_fail(void)
{
	if (phase != IDLE)
		grd_atomic_add(&mine->errors, 1);
}

static void end(void)
{
	grd_atomic_add(&mine->requests, 1);
	leave();
}

static void end_with(unsigned int hundreds)
{
	if (phase == IDLE)
		return;
	grd_atomic_add(&mine->responses[hundreds - 1], 1);
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
	leave();
}

static void begin_in(struct grd_slot *slot)
{
	grd_atomic_add(&slot->gauge, ONE_CALLING);
}

static void respond_in(struct grd_slot *slot)
{
	grd_atomic_add(&slot->gauge, ONE_WRITING - ONE_CALLING);
}

static void count(struct grd_slot *slot, uint32_t how)
{
	uint32_t hundreds = how & (GRD_WRITING - 1);

	if (how & GRD_ERROR)
		grd_atomic_add(&slot->errors, 1);
	if (hundreds >= 1 && hundreds <= 5)
		grd_atomic_add(&slot->responses[hundreds - 1], 1);
	grd_atomic_add(&slot->requests, 1);
}

static void end_in(struct grd_slot *slot, uint32_t how)
{
	if (!(how & GRD_CANCELLED))
		count(slot, how);
	grd_atomic_add(&slot->gauge, 0 - (how & GRD_WRITING ? ONE_WRITING : ONE_CALLING));
}

static void open_in(struct grd_slot *slot)
{
	grd_atomic_add(&slot->websockets, 1);
}

static void close_in(struct grd_slot *slot)
{
	grd_atomic_add(&slot->websockets, 0 - 1ull);
}

int grd_here_begin(void)
{
	begin_in(here);
	return 1;
}

void grd_here_respond(void) { respond_in(here); }
void grd_here_end(uint32_t how) { end_in(here, how); }
void grd_here_open(void) { open_in(here); }
void grd_here_close(void) { close_in(here); }

static int is_ours(const struct grd_seat *seat)
{
	return seat->forks == forks;
}

void grd_seat_take(struct grd_seat *seat, struct grd_slot *slot)
{
	seat->slot = slot;
	seat->forks = grd_forks();
}

void grd_seat_state(struct grd_seat *seat, uint32_t state)
{
	if (is_ours(seat))
		set_state(seat->slot, state);
}

int grd_seat_begin(struct grd_seat *seat)
{
	if (!is_ours(seat))
		return 0;
	begin_in(seat->slot);
	return 1;
}

void grd_seat_respond(struct grd_seat *seat)
{
	if (is_ours(seat))
		respond_in(seat->slot);
}

void grd_seat_end(struct grd_seat *seat, uint32_t how)
{
	if (is_ours(seat))
		end_in(seat->slot, how);
}

void grd_seat_open(struct grd_seat *seat)
{
	if (is_ours(seat))
		open_in(seat->slot);
}

void grd_seat_close(struct grd_seat *seat)
{
	if (is_ours(seat))
		close_in(seat->slot);
}
