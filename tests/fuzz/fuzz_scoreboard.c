/* Drives the plain native units that a scoreboard is made of, under the sanitizers.
 *
 * usage: fuzz_scoreboard SEED ROUNDS
 *
 * A few slots stand in a private buffer of exactly their size. Each round does one thing at random
 * that an arbiter, a worker or a reader does, with arguments at random. In the first half nobody
 * scribbles, and what must hold is checked here; in the second half every tenth round scribbles
 * over a part of the pages, and all there is to see is what the sanitizers see: memory that is not
 * the pages', and undefined arithmetic.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "busy.h"
#include "clock.h"
#include "entry.h"
#include "guard.h"
#include "histogram.h"
#include "marks.h"
#include "nowait.h"
#include "pages.h"
#include "process.h"
#include "reading.h"
#include "requests.h"
#include "scoreboard.h"
#include "tally.h"
#include "words.h"

enum { SLOTS = 3, MOST_TICKETS = 64 };

static unsigned char *pages;
static struct grd_header *header;
static struct grd_slot *slots;
static struct grd_look last_look;
static struct held {
	uint64_t owner;
	struct grd_held held;
	uint64_t tickets[MOST_TICKETS];
	unsigned int phases[MOST_TICKETS];
	int flying;
} owners[SLOTS];
static unsigned long round_number, reads, claims, ends;
static int scribbled;
static uint64_t state;

static uint32_t rnd(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

static void require(int ok, const char *what)
{
	if (ok || scribbled)
		return;
	fprintf(stderr, "round %lu: %s\n", round_number, what);
	abort();
}

static struct grd_owner somebody(void)
{
	return (struct grd_owner){
		.who = grd_who((uint32_t)getpid(), rnd(1000)), .namespace = grd_pid_namespace(),
		.start = rnd(1000), .age = rnd(100), .started = grd_now(), .capacity = rnd(64),
	};
}

/* --- what an arbiter and a worker do --- */

static void do_claim(void)
{
	struct grd_owner owner = somebody();
	int64_t slot = grd_claim(header, slots, SLOTS, &owner);
	struct held *held;
	uint64_t taken;

	require(slot < SLOTS, "a claim is one of the slots");
	if (slot < 0 || slot >= SLOTS)
		return;
	held = &owners[slot];
	*held = (struct held){.owner = grd_owner(&slots[slot])};
	require(scribbled || grd_find_claimed(slots, SLOTS, owner.who) >= 0, "the claim is found");
	if (!rnd(10))
		return;
	taken = grd_take_over(&slots[slot], held->owner, &owner);
	require(taken && grd_publish(&slots[slot], taken), "a claimed slot is taken over");
	grd_hold(&held->held, header, &slots[slot]);
	grd_held_state(&held->held, GRD_READY);
	if (rnd(2)) {
		grd_cancel();   /* a thread's request counts where it began */
		grd_attach(header, &slots[slot]);
	}
	claims++;
}

static void do_release(void)
{
	uint32_t slot = rnd(SLOTS);
	struct grd_slot_record record;
	struct grd_kill kill = {.cause = rnd(8), .slot = slot, .in_flight = rnd(9)};

	grd_cancel();
	grd_read_last(&slots[slot], owners[slot].owner, &record);
	grd_exit(header, &slots[slot], owners[slot].owner, rnd(GRD_EXIT_CAUSES + 2));
	kill.entry = record.entry;
	grd_record_kill(header, &kill);
	if (owners[slot].held.slot)
		grd_free_generation(header, &slots[slot], owners[slot].owner);
	else
		grd_free(header, &slots[slot], grd_owner(&slots[slot]));
	owners[slot] = (struct held){0};
	grd_detach();
}

static void do_tally(void)
{
	struct grd_slot_record found[GRD_TALLIES];
	struct grd_tally *entries = rnd(2) ? header->untracked : header->wanted;
	uint32_t room = entries == header->wanted ? GRD_WANTS : GRD_TALLIES;
	struct grd_owner process = {.who = grd_who(1 + rnd(GRD_TALLIES + 5), rnd(9)),
				    .namespace = rnd(3)};
	uint32_t count;

	if (rnd(2))
		grd_tally_add(entries, room, &process, (int64_t)rnd(5) - 2);
	else
		grd_tally_set(entries, room, &process, 1 + rnd(5));
	count = grd_tally_list(entries, room, found);
	require(count <= room, "no more tallies than there is room for");
	if (count && !rnd(10))
		grd_tally_free(&entries[found[count - 1].slot], found[count - 1].owner);
}

static void do_reap(void)
{
	grd_settle_free(slots, SLOTS);
	grd_correct_level(header, slots, SLOTS, &last_look);
	if (!rnd(50)) {
		uint32_t slot = rnd(SLOTS);

		grd_cancel();
		grd_detach();   /* its processes are of another boot */
		grd_forget(header, &slots[slot], grd_last_mark(header));
		owners[slot] = (struct held){0};
	}
	grd_saw_queued(header, state);
	do_tally();
}

/* --- what requests do --- */

static struct grd_line a_line(char *text)
{
	size_t method = rnd(40), path = rnd(200);

	memset(text, 'a', 300);
	return (struct grd_line){text, method, text + method, path};
}

static void do_begin(void)
{
	struct held *owner = &owners[rnd(SLOTS)];
	char text[300];

	if (!owner->held.slot || owner->flying == MOST_TICKETS)
		return;
	owner->phases[owner->flying] = 0;
	owner->tickets[owner->flying++] = grd_ticket_begin(&owner->held, a_line(text));
}

static void do_end(void)
{
	struct held *owner = &owners[rnd(SLOTS)];
	int which;

	if (!owner->flying)
		return;
	which = (int)rnd((uint32_t)owner->flying);
	if (!owner->phases[which] && rnd(2)) {
		grd_ticket_respond(&owner->held, owner->tickets[which]);
		owner->phases[which] = GRD_WRITING;
		return;
	}
	grd_ticket_end(&owner->held, owner->tickets[which], owner->phases[which] | rnd(8) |
		       (rnd(2) ? GRD_ERROR : 0) | (rnd(8) ? 0 : GRD_CANCELLED));
	owner->tickets[which] = owner->tickets[--owner->flying];
	owner->phases[which] = owner->phases[owner->flying];
	ends++;
}

static void do_thread_step(void)
{
	char text[300];

	switch (rnd(8)) {
	case 0: grd_begin(a_line(text)); break;
	case 1: grd_respond(); break;
	case 2: grd_fail(); break;
	case 3: grd_end(rnd(9)); break;
	case 4: grd_cancel(); break;
	case 5: grd_queued_socket(state); break;
	case 6: grd_queued_header(rnd(1000)); break;
	default: grd_queued_ignored(); break;
	}
}

/* --- what readers do --- */

static void do_read(void)
{
	struct grd_slot_record records[SLOTS];
	struct grd_totals totals;
	struct grd_high_water most;
	struct grd_kill kill;
	uint64_t busy[SLOTS];
	uint32_t used = grd_used(header, SLOTS), found = grd_read(slots, used, records, &totals, busy);

	require(used <= SLOTS && found <= used, "no more slots than there are");
	for (uint32_t i = 0; i < found; i++) {
		struct held *owner = &owners[records[i].slot];

		require(records[i].slot < used, "a record is of a slot");
		if (owner->held.slot && grd_attached()->slot != owner->held.slot)
			require(records[i].calling + records[i].writing == (uint32_t)owner->flying,
				"the gauge is what is in flight");
	}
	for (uint64_t turn = header->kills; turn && turn + 12 > header->kills; turn--)
		grd_read_kill(header, turn, &kill);
	grd_read_marks(header, rnd(100), &most);
	require(most.mark[GRD_MARK_CALLING] < 4 * MOST_TICKETS, "a mark is not above all requests");
	reads++;
}

static void do_scribble(void)
{
	size_t size = GRD_HEADER_SIZE + SLOTS * sizeof(struct grd_slot);
	size_t length = 1 + rnd(rnd(2) ? 64 : 4096), at = rnd((uint32_t)(size - length));

	if (rnd(4))     /* where the words are that matter most */
		at = GRD_HEADER_SIZE + rnd(SLOTS) * sizeof(struct grd_slot) + rnd(256);
	for (size_t i = 0; i < length && at + i < size; i++)
		pages[at + i] = (unsigned char)(rnd(3) ? rnd(256) : 0xff);
}

/* --- the units beside it --- */

static void check_the_rest(void)
{
	char name[] = "/tmp/fuzz_scoreboard_XXXXXX", buffer[8];
	int fd = mkstemp(name), ends_of[2], guard;
	uint64_t *shared;

	unlink(name);
	require(fd >= 0 && !ftruncate(fd, 8192), "a file");
	shared = grd_map(fd, 8192);
	guard = grd_guard(shared, 8192);
	require(shared && guard >= 0 && !grd_lost(guard), "a guarded mapping");
	require(!ftruncate(fd, 0), "cut short");
	shared[1] = 7;
	require(grd_lost(guard) && shared[1] == 7, "a lost mapping is private memory");
	grd_unguard(guard);
	grd_unmap(shared, 8192);
	require(grd_map_read_only(-1, 8192) == NULL && errno == EBADF, "no mapping of nothing");
	require(grd_line_size() >= 64, "a cache line");
	close(fd);

	require(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends_of), "two sockets");
	require(grd_receive(ends_of[0], buffer, 8) == -EAGAIN, "nothing to receive");
	require(grd_send(ends_of[1], "ab", 2) == 2 && grd_receive(ends_of[0], buffer, 8) == 2,
		"what is sent is received");
	require(!grd_shutdown(ends_of[0]) && grd_accept(ends_of[0]) < 0, "no listener");
	close(ends_of[0]);
	close(ends_of[1]);

	require(grd_process_start((uint32_t)getpid()) >= 0, "this process lives");
	require(grd_process_runs((uint32_t)getpid()), "and runs");
	require(!grd_process_runs(0) && grd_process_start(0) < 0, "no process is process 0");
	require(grd_process_start(UINT32_MAX) <= 0, "nor any number");
}

static pthread_mutex_t gil = PTHREAD_MUTEX_INITIALIZER;
static int are_stepping;
static uint64_t longest_end;    /* ns; a step that loses the processor takes long */

/* Beside a reader, which needs no lock. */
static void *steps_of_a_thread(void *held)
{
	while (__atomic_load_n(&are_stepping, __ATOMIC_RELAXED)) {
		uint64_t ticket, began, took;

		pthread_mutex_lock(&gil);
		ticket = grd_ticket_begin(held, (struct grd_line){"GET", 3, "/", 1});
		pthread_mutex_unlock(&gil);
		pthread_mutex_lock(&gil);
		grd_ticket_respond(held, ticket);
		began = grd_now();
		grd_ticket_end(held, ticket, GRD_WRITING | 2);
		took = grd_now() - began;
		longest_end = took > longest_end ? took : longest_end;
		pthread_mutex_unlock(&gil);
	}
	return NULL;
}

static void check_threads(void)
{
	struct grd_owner owner = somebody();
	struct grd_held held;
	pthread_t threads[3];
	int64_t slot = grd_claim(header, slots, SLOTS, &owner);
	uint64_t claimed = grd_owner(&slots[slot]), back = 0;

	grd_publish(&slots[slot], grd_take_over(&slots[slot], claimed, &owner));
	grd_hold(&held, header, &slots[slot]);
	are_stepping = 1;
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, steps_of_a_thread, &held);
	for (uint64_t busy = 0, now, i = 0; i < 300000; i++, busy = now) {
		now = grd_busy_read(&slots[slot]);
		back = busy > now && busy - now > back ? busy - now : back;
	}
	__atomic_store_n(&are_stepping, 0, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	require(back <= longest_end + (1 << GRD_BUSY_TICK_BITS),
		"busy seconds go back by no more than a step is held up");
	require(slots[slot].requests == slots[slot].responses[1], "exact totals");
	require(!grd_gauge_of(&slots[slot].gauge, grd_owner(&slots[slot])), "nothing in flight");
	require(!grd_busy_in_flight(slots[slot].busy), "nor there");
	require((header->marks.level & GRD_BITS(40)) == 0, "nor in the level");
	grd_free_generation(header, &slots[slot], claimed);
}

static void (*const ACTIONS[])(void) = {
	do_claim, do_begin, do_begin, do_begin, do_end, do_end, do_end, do_thread_step, do_release,
	do_reap, do_read,
};

int main(int argc, char **argv)
{
	unsigned long rounds = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

	if (!rounds)
		return 2;
	state = (strtoull(argv[1], NULL, 10) << 1) | 1;
	pages = aligned_alloc(4096, GRD_HEADER_SIZE + SLOTS * sizeof(struct grd_slot));
	memset(pages, 0, GRD_HEADER_SIZE + SLOTS * sizeof(struct grd_slot));
	header = (struct grd_header *)pages;
	slots = (struct grd_slot *)(pages + GRD_HEADER_SIZE);
	check_the_rest();
	check_threads();
	for (; round_number < rounds; round_number++) {
		if (round_number == rounds / 2)
			scribbled = 1;
		if (scribbled && !rnd(10))
			do_scribble();
		ACTIONS[rnd(sizeof(ACTIONS) / sizeof(*ACTIONS))]();
	}
	printf("rounds %lu reads %lu claims %lu ends %lu\n", round_number, reads, claims, ends);
	free(pages);
	return 0;
}
