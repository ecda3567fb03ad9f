#include "scoreboard.h"

#include <string.h>

#include "busy.h"
#include "clock.h"
#include "entry.h"
#include "marks.h"
#include "words.h"

enum { SETTLE_TRIES = 8 };

uint64_t grd_who(uint32_t pid, uint64_t start)
{
	return (pid & GRD_BITS(GRD_PID_BITS)) |
	       (start & GRD_BITS(GRD_TAG_BITS)) << (GRD_PID_BITS + GRD_STATE_BITS);
}

uint64_t grd_owner(const struct grd_slot *slot)
{
	return grd_load_acquire(&slot->owner);
}

/* Claiming. */

void grd_raise_used(struct grd_header *header, uint64_t used)
{
	uint64_t now = grd_load_relaxed(&header->used);

	for (int i = 0; i < SETTLE_TRIES && now < used; i++)
		if (grd_cas_or_load(&header->used, &now, used))
			return;
}

int grd_was_taken(const struct grd_slot *slot, uint64_t owner)
{
	/* acquire: the gauge is the last word that a take-over stores */
	return grd_generation_of(grd_load_acquire(&slot->gauge)) == grd_generation_of(owner);
}

/* The end of an owner that nobody has counted: it was reaped, and no arbiter waited for it. */
static void count_last(struct grd_header *header, struct grd_slot *slot, uint64_t owner)
{
	if (grd_was_taken(slot, owner) && grd_generation_of(owner))
		grd_exit(header, slot, owner, GRD_EXIT_KILLED);
}

static uint64_t namespace_word(uint64_t owner, uint64_t namespace)
{
	return grd_generation_of(owner) | (namespace & GRD_BITS(GRD_NAMESPACE_BITS));
}

static uint64_t claimed_word(uint64_t owner, uint64_t who)
{
	return grd_with_state(grd_generation_of(owner), GRD_CLAIMED) | who;
}

static int claim(struct grd_header *header, struct grd_slot *slot, uint64_t index,
		 const struct grd_owner *owner)
{
	uint64_t free = grd_load_acquire(&slot->owner), claimed;

	if (grd_state_of(free) != GRD_FREE)
		return 0;
	/* before it is claimed: readers look no further */
	grd_raise_used(header, index + 1);
	count_last(header, slot, free);
	claimed = claimed_word(free + GRD_ONE_GENERATION, owner->who);
	/* lost to another process: this slot is its, the next one may be ours */
	if (!grd_cas(&slot->owner, free, claimed))
		return 0;
	grd_store_release(&slot->namespace, namespace_word(claimed, owner->namespace));
	return 1;
}

int64_t grd_claim(struct grd_header *header, struct grd_slot *slots, uint32_t count,
		  const struct grd_owner *owner)
{
	for (uint32_t i = 0; i < count; i++)
		if (claim(header, &slots[i], i, owner))
			return i;
	return -1;
}

int64_t grd_find_claimed(const struct grd_slot *slots, uint32_t count, uint64_t who)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t owner = grd_load_acquire(&slots[i].owner);

		if (owner == claimed_word(owner, who))
			return i;
	}
	return -1;
}

/* Taking over. */

static void store_owner(struct grd_slot *slot, uint64_t taken, const struct grd_owner *owner)
{
	grd_store_relaxed(&slot->namespace, namespace_word(taken, owner->namespace));
	grd_store_relaxed(&slot->start, owner->start);
	grd_store_relaxed(&slot->age, owner->age);
	grd_store_relaxed(&slot->started, owner->started);
	grd_store_relaxed(&slot->capacity, owner->capacity);
	grd_store_relaxed(&slot->base, grd_load_relaxed(&slot->requests));
	grd_store_relaxed(&slot->websockets, grd_generation_of(taken));
	grd_store_relaxed(&slot->connections, grd_generation_of(taken));
	grd_store_relaxed(&slot->turned, 0);
	grd_store_relaxed(&slot->late, 0);
}

uint64_t grd_take_over(struct grd_slot *slot, uint64_t claimed, const struct grd_owner *owner)
{
	uint64_t taken = claimed_word(claimed, owner->who);

	if (grd_state_of(claimed) != GRD_CLAIMED || !grd_cas(&slot->owner, claimed, taken))
		return 0;       /* freed since, and perhaps another's: not ours to write to */
	/* a process that sees one of the stores below sees the claim, or a later owner, as well */
	grd_fence_release();
	grd_busy_settle(slot, taken);
	grd_entries_clear(slot->entries);
	store_owner(slot, taken, owner);
	/* nothing is in flight: the first look is exact */
	grd_store_relaxed(&slot->base_busy, grd_busy_read(slot));
	grd_store_release(&slot->gauge, grd_generation_of(taken));
	return taken;
}

int grd_publish(struct grd_slot *slot, uint64_t taken)
{
	int is_ours = grd_cas(&slot->owner, taken, grd_with_state(taken, GRD_STARTING));

	/* a process that sees a request of this owner sees the owner as well */
	grd_fence_release();
	return is_ours;
}

void grd_set_state(struct grd_slot *slot, uint32_t state)
{
	for (int i = 0; i < SETTLE_TRIES; i++) {
		uint64_t owner = grd_load_acquire(&slot->owner);

		if (grd_cas(&slot->owner, owner, grd_with_state(owner, state)))
			return;
	}
}

/* Freeing. */

int grd_free(struct grd_header *header, struct grd_slot *slot, uint64_t owner)
{
	uint64_t gauge = grd_gauge_of(&slot->gauge, owner), free = grd_generation_of(owner);

	if (grd_state_of(owner) == GRD_FREE || grd_owner(slot) != owner)
		return 0;
	grd_busy_step(slot, grd_now());
	if (!grd_cas(&slot->owner, owner, free))
		return 0;
	grd_marks_step(&header->marks, grd_now(), -(int)grd_calling_of(gauge),
		       -(int)grd_writing_of(gauge));
	grd_busy_settle(slot, free);
	return 1;
}

int grd_free_generation(struct grd_header *header, struct grd_slot *slot, uint64_t owner)
{
	for (int i = 0; i < SETTLE_TRIES; i++) {
		uint64_t now = grd_load_acquire(&slot->owner);

		if (grd_generation_of(now) != grd_generation_of(owner) ||
		    grd_state_of(now) == GRD_FREE)
			return 0;
		if (grd_free(header, slot, now))
			return 1;
	}
	return 0;
}

void grd_forget(struct grd_header *header, struct grd_slot *slot, uint64_t then)
{
	uint64_t owner = grd_owner(slot);

	grd_busy_settle_at(slot, owner, then);
	grd_free(header, slot, owner);
}

void grd_settle_free(struct grd_slot *slots, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t owner = grd_load_acquire(&slots[i].owner);

		if (grd_state_of(owner) == GRD_FREE)
			grd_busy_settle(&slots[i], owner);
	}
}

/* The level of the marks. */

/* What both have in common, if they have the same sign. */
static int common(int a, int b)
{
	if (a > 0 && b > 0)
		return a < b ? a : b;
	if (a < 0 && b < 0)
		return a > b ? a : b;
	return 0;
}

/* Look at level and gauges together; 0 if a step was counted meanwhile. */
static int look(const struct grd_header *header, const struct grd_slot *slots, uint32_t count,
		uint64_t *level, int *excess)
{
	uint64_t calling = 0, writing = 0;

	*level = grd_load_acquire(&header->marks.level);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t gauge = grd_gauge_of(&slots[i].gauge, grd_load_acquire(&slots[i].owner));

		calling += grd_calling_of(gauge);
		writing += grd_writing_of(gauge);
	}
	grd_level_excess(*level, calling, writing, excess);
	return grd_load_relaxed(&header->marks.level) == *level;
}

void grd_correct_level(struct grd_header *header, const struct grd_slot *slots, uint32_t count,
		       struct grd_look *last)
{
	for (int i = 0; i < SETTLE_TRIES; i++) {
		int excess[2], both[2];
		uint64_t level;

		if (!look(header, slots, count, &level, excess))
			continue;
		for (int what = 0; what < 2; what++) {
			both[what] = common(excess[what], last->excess[what]);
			last->excess[what] = excess[what];
		}
		if ((both[0] || both[1]) && grd_level_correct(&header->marks, level, both))
			*last = (struct grd_look){{0}};
		return;
	}
}

/* Counting. */

int grd_exit(struct grd_header *header, struct grd_slot *slot, uint64_t owner, uint32_t cause)
{
	uint64_t counted = grd_load_relaxed(&slot->exited), generation = grd_generation_of(owner);

	if (counted == generation || cause >= GRD_EXIT_CAUSES ||
	    grd_generation_of(grd_load_acquire(&slot->owner)) != generation ||
	    !grd_cas(&slot->exited, counted, generation))
		return 0;
	grd_add_relaxed(&header->exits[cause], 1);
	return 1;
}

void grd_record_kill(struct grd_header *header, const struct grd_kill *killed)
{
	enum { WORDS = sizeof(struct grd_kill) / 8 };
	uint64_t turn = grd_add_relaxed(&header->kills, 1), words[WORDS];
	struct grd_kill *kept = &header->killed[turn % GRD_KILLS_KEPT];

	memcpy(words, killed, sizeof(words));
	grd_store_relaxed(&kept->turn, 0);
	/* a process that sees one of these words sees that they are being written */
	grd_fence_release();
	for (int i = 1; i < WORDS; i++)
		grd_store_relaxed((uint64_t *)kept + i, words[i]);
	grd_store_release(&kept->turn, turn);
}

void grd_saw_queued(struct grd_header *header, uint64_t queued)
{
	grd_marks_raise(&header->marks, grd_now(), GRD_MARK_QUEUED, queued);
}

void grd_saw_waiting(struct grd_header *header, uint64_t waiting)
{
	grd_marks_raise(&header->marks, grd_now(), GRD_MARK_WAITING, waiting);
}

uint64_t grd_last_mark(const struct grd_header *header)
{
	return grd_marks_last(&header->marks);
}
