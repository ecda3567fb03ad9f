#include "scoreboard.h"

#include <stddef.h>
#include <string.h>

#include "atomic.h"
#include "busy.h"
#include "clock.h"
#include "entry.h"
#include "marks.h"

#define BITS(n) ((1ull << (n)) - 1)
#define PID_MASK BITS(GRD_PID_BITS)
#define STATE_SHIFT GRD_PID_BITS
#define STATE_MASK (BITS(GRD_STATE_BITS) << STATE_SHIFT)
#define TAG_SHIFT (GRD_PID_BITS + GRD_STATE_BITS)
#define TAG_MASK (BITS(GRD_TAG_BITS) << TAG_SHIFT)
#define GENERATION_MASK (~BITS(GRD_GENERATION_SHIFT))
#define ONE_GENERATION (1ull << GRD_GENERATION_SHIFT)


enum { SETTLE_TRIES = 8 };

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

static uint64_t calling_of(uint64_t gauge)
{
	return (gauge >> GRD_GAUGE_BITS) & BITS(GRD_GAUGE_BITS);
}

static uint64_t writing_of(uint64_t gauge)
{
	return gauge & BITS(GRD_GAUGE_BITS);
}

/* What an earlier owner has left counts as nothing. */
static uint64_t gauge_of(const uint64_t *at, uint64_t owner)
{
	uint64_t gauge = grd_load_relaxed(at);
	int is_its = freed(gauge) == freed(owner) && state_of(owner) != GRD_FREE;

	return is_its ? gauge & ~GENERATION_MASK : 0;
}

uint64_t grd_who(uint32_t pid, uint64_t start)
{
	return (pid & PID_MASK) | ((start << TAG_SHIFT) & TAG_MASK);
}

static void raise_used(struct grd_header *header, uint64_t used)
{
	uint64_t now = grd_load_relaxed(&header->used);

	while (now < used && !grd_cas_or_load(&header->used, &now, used))
		;
}

/* Whether an owner that is gone had taken the slot. */
static int was_taken(const struct grd_slot *slot, uint64_t owner)
{
	return freed(grd_load_relaxed(&slot->gauge)) == freed(owner);
}

/* The end of an owner that nobody has counted: it was seen by readers only. */
static void count_last(struct grd_header *header, struct grd_slot *slot, uint64_t owner)
{
	if (was_taken(slot, owner) && freed(owner))
		grd_exit(header, slot, owner, GRD_EXIT_KILLED);
}

int64_t grd_claim(struct grd_header *header, struct grd_slot *slots, uint32_t count, uint64_t who)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t owner = grd_load_acquire(&slots[i].owner);
		uint64_t claimed;

		if (state_of(owner) != GRD_FREE)
			continue;
		/* before it is claimed: readers look no further */
		raise_used(header, i + 1);
		count_last(header, &slots[i], owner);
		claimed = with_state(freed(owner) + ONE_GENERATION, GRD_CLAIMED) | who;
		/* lost to another arbiter: its slot, the next one may be ours */
		if (grd_cas(&slots[i].owner, owner, claimed))
			return i;
	}
	return -1;
}

int64_t grd_find_claimed(struct grd_slot *slots, uint32_t count, uint64_t who)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t owner = grd_load_acquire(&slots[i].owner);

		if (owner == (with_state(freed(owner), GRD_CLAIMED) | who))
			return i;
	}
	return -1;
}

void grd_set_state(struct grd_slot *slot, uint32_t state)
{
	for (int i = 0; i < SETTLE_TRIES; i++) {
		uint64_t owner = grd_load_acquire(&slot->owner);

		if (grd_cas(&slot->owner, owner, with_state(owner, state)))
			return;
	}
}

uint64_t grd_owner(struct grd_slot *slot)
{
	return grd_load_acquire(&slot->owner);
}

/* What an owner that is dead had in flight ends. Idle words stay as they are. */
static void settle_busy(struct grd_slot *slot, uint64_t owner)
{
	uint64_t seen = grd_load_acquire(&slot->busy);

	/* the slot has gone on, and these are its new owner's: a word that stood here while it had
	 * not does not come back */
	if (!grd_busy_in_flight(seen) || grd_load_acquire(&slot->owner) != owner)
		return;
	grd_busy_settle(&slot->busy, &slot->busy_told, seen);
}

int grd_take_over(struct grd_slot *slot, uint64_t claimed, const struct grd_slot_record *owner)
{
	if (grd_load_acquire(&slot->owner) != claimed)
		return 0;       /* freed since, and perhaps another's: not ours to write to */
	settle_busy(slot, claimed);
	grd_entries_clear(slot->entries);
	grd_store_relaxed(&slot->start, owner->start);
	grd_store_relaxed(&slot->age, owner->age);
	grd_store_relaxed(&slot->started, owner->started);
	grd_store_relaxed(&slot->capacity, owner->capacity);
	grd_store_relaxed(&slot->gauge, claimed & GENERATION_MASK);
	grd_store_relaxed(&slot->websockets, claimed & GENERATION_MASK);
	grd_store_relaxed(&slot->base, grd_load_relaxed(&slot->requests));
	grd_store_relaxed(&slot->base_busy, grd_busy_read(&slot->busy, &slot->busy_told));
	/* publishes all of these */
	return grd_cas(&slot->owner, claimed,
			       with_state(freed(claimed), GRD_STARTING) | owner->owner);
}

int grd_free(struct grd_header *header, struct grd_slot *slot, uint64_t owner)
{
	uint64_t gauge = gauge_of(&slot->gauge, owner);

	settle_busy(slot, owner);
	if (!grd_cas(&slot->owner, owner, freed(owner)))
		return 0;
	grd_marks_step(&header->marks, grd_now(), -(int)calling_of(gauge), -(int)writing_of(gauge));
	return 1;
}

void grd_forget(struct grd_header *header, struct grd_slot *slot)
{
	grd_busy_forget(&slot->busy, &slot->busy_told);
	grd_free(header, slot, grd_owner(slot));
}

int grd_free_generation(struct grd_header *header, struct grd_slot *slot, uint64_t owner)
{
	for (int i = 0; i < SETTLE_TRIES; i++) {
		uint64_t now = grd_load_acquire(&slot->owner);

		if (freed(now) != freed(owner) || state_of(now) == GRD_FREE)
			return 0;
		if (grd_free(header, slot, now))
			return 1;
	}
	return 0;
}

void grd_add_untracked(struct grd_header *header, int64_t n)
{
	grd_add_relaxed(&header->untracked, (uint64_t)n);
}

int grd_exit(struct grd_header *header, struct grd_slot *slot, uint64_t owner, uint32_t cause)
{
	uint64_t counted = grd_load_relaxed(&slot->exited);

	if (counted == freed(owner) || freed(grd_load_acquire(&slot->owner)) != freed(owner) ||
	    cause >= GRD_EXIT_CAUSES || !grd_cas(&slot->exited, counted, freed(owner)))
		return 0;
	grd_add_relaxed(&header->exits[cause], 1);
	return 1;
}

static void sum(struct grd_slot *slot, struct grd_totals *totals)
{
	totals->requests += grd_load_relaxed(&slot->requests);
	for (int i = 0; i < GRD_RESPONSE_CLASSES; i++)
		totals->responses[i] += grd_load_relaxed(&slot->responses[i]);
	totals->errors += grd_load_relaxed(&slot->errors);
	totals->queue_ignored += grd_load_relaxed(&slot->queue_ignored);
	grd_histogram_merge(&totals->request, &slot->request);
	for (int i = 0; i < GRD_QUEUE_SOURCES; i++)
		grd_histogram_merge(&totals->queue[i], &slot->queue[i]);
}

static void look_inside(const struct grd_slot *slot, struct grd_slot_record *row)
{
	uint64_t now;

	row->took = 0;
	if (!grd_entry_oldest(&row->entry, slot->entries))
		return;
	now = grd_now();
	if (now > row->entry.began)
		row->took = now - row->entry.began;
}

/* What stands beside an owner that has taken the slot. */
static void look_beside(struct grd_slot *slot, uint64_t owner, struct grd_slot_record *row)
{
	uint64_t gauge = gauge_of(&slot->gauge, owner);
	/* before the time itself, which is never less */
	uint64_t base_busy = grd_load_acquire(&slot->base_busy);

	row->start = grd_load_relaxed(&slot->start);
	row->age = grd_load_relaxed(&slot->age);
	row->started = grd_load_relaxed(&slot->started);
	row->capacity = grd_load_relaxed(&slot->capacity);
	row->requests = grd_load_relaxed(&slot->requests) - grd_load_relaxed(&slot->base);
	row->calling = calling_of(gauge);
	row->writing = writing_of(gauge);
	row->websockets = gauge_of(&slot->websockets, owner);
	row->busy = grd_busy_read(&slot->busy, &slot->busy_told) - base_busy;
	look_inside(slot, row);
}

/* Until an owner takes the slot, what stands beside it is the one's before. */
static void look(struct grd_slot *slot, uint64_t owner, int is_taken, struct grd_slot_record *row)
{
	*row = (struct grd_slot_record){
		.state = state_of(owner),
		.pid = owner & PID_MASK,
		.tag = (owner & TAG_MASK) >> TAG_SHIFT,
		.owner = owner,
	};
	if (is_taken)
		look_beside(slot, owner, row);
}

/* Read what stands beside an owner while that owner stays the same. A slot that changes hands
 * faster than this has no worker to show. */
static int settle(struct grd_slot *slot, struct grd_slot_record *row)
{
	for (int i = 0; i < SETTLE_TRIES; i++) {
		uint64_t owner = grd_load_acquire(&slot->owner);

		if (state_of(owner) == GRD_FREE)
			return 0;
		look(slot, owner, state_of(owner) != GRD_CLAIMED, row);
		grd_fence_acquire();
		if (grd_load_relaxed(&slot->owner) == owner)
			return 1;
	}
	return 0;
}

int64_t grd_find(struct grd_slot *slots, uint32_t count, uint32_t from, uint32_t state,
		 struct grd_slot_record *row)
{
	for (uint32_t i = from; i < count; i++)
		if (settle(&slots[i], row) && row->state == state)
			return i;
	return -1;
}

int grd_last(struct grd_slot *slot, uint64_t owner, struct grd_slot_record *row)
{
	uint64_t now = grd_load_acquire(&slot->owner);

	/* as its claim has it, so not as the free slot that it may be by now */
	look(slot, owner, was_taken(slot, owner), row);
	grd_fence_acquire();
	return freed(now) == freed(owner) && grd_load_relaxed(&slot->owner) == now;
}

static uint64_t *words_of(struct grd_kill *killed)
{
	return (uint64_t *)killed + 1;
}

enum { KILLED_WORDS = sizeof(struct grd_kill) / 8 - 1 };

void grd_record_kill(struct grd_header *header, const struct grd_kill *killed)
{
	uint64_t turn = grd_add_relaxed(&header->kills, 1), words[KILLED_WORDS];
	struct grd_kill *kept = &header->killed[turn % GRD_KILLS_KEPT];

	memcpy(words, (const char *)killed + 8, sizeof(words));
	grd_store_relaxed(&kept->turn, 0);
	/* whoever sees a word of these sees that it is being written */
	grd_fence_release();
	for (int i = 0; i < KILLED_WORDS; i++)
		grd_store_relaxed(words_of(kept) + i, words[i]);
	grd_store_release(&kept->turn, turn);
}

int grd_read_kill(const struct grd_header *header, uint64_t turn, struct grd_kill *copy)
{
	const struct grd_kill *kept = &header->killed[turn % GRD_KILLS_KEPT];
	uint64_t words[KILLED_WORDS];

	if (grd_load_acquire(&kept->turn) != turn)
		return 0;
	for (int i = 0; i < KILLED_WORDS; i++)
		words[i] = grd_load_relaxed((const uint64_t *)kept + 1 + i);
	grd_fence_acquire();
	copy->turn = turn;
	memcpy((char *)copy + 8, words, sizeof(words));
	return grd_load_relaxed(&kept->turn) == turn;
}

uint32_t grd_used(const struct grd_header *header, uint32_t count)
{
	uint64_t used = grd_load_relaxed(&header->used);

	return used < count ? used : count;
}

/* Everything in flight, also of the dead whose slots nobody has freed yet. */
static void correct_level(struct grd_header *header, struct grd_slot *slots, uint32_t count)
{
	uint64_t seen = grd_load_acquire(&header->marks.level), calling = 0, writing = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t gauge = gauge_of(&slots[i].gauge,
					  grd_load_acquire(&slots[i].owner));

		calling += calling_of(gauge);
		writing += writing_of(gauge);
	}
	grd_fence_acquire();
	grd_marks_correct(&header->marks, seen, calling, writing);
}

uint32_t grd_read(struct grd_header *header, struct grd_slot *slots, uint32_t count,
		  struct grd_slot_record *rows, struct grd_totals *totals, uint64_t *busy)
{
	uint32_t used = 0;

	*totals = (struct grd_totals){0};
	for (uint32_t i = 0; i < count; i++) {
		if (settle(&slots[i], &rows[used]))
			rows[used++].slot = i;
		busy[i] = grd_busy_read(&slots[i].busy, &slots[i].busy_told);
		sum(&slots[i], totals);
	}
	correct_level(header, slots, count);
	return used;
}

void grd_most(const struct grd_header *header, uint32_t seconds, struct grd_high_water *most)
{
	grd_marks_read(&header->marks, grd_now(), seconds, most->mark);
}

void grd_saw_queued(struct grd_header *header, uint64_t queued)
{
	grd_marks_raise(&header->marks, grd_now(), GRD_MARK_QUEUED, queued);
}
