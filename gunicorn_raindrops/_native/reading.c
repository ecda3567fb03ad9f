#include "reading.h"

#include <string.h>

#include "busy.h"
#include "clock.h"
#include "entry.h"
#include "histogram.h"
#include "marks.h"
#include "scoreboard.h"
#include "words.h"

enum { TRIES = 8 };

static void read_entry(const struct grd_slot *slot, struct grd_slot_record *record)
{
	uint64_t now;

	if (!grd_entry_oldest(&record->entry, slot->entries))
		return;
	now = grd_now();
	if (now > record->entry.began)
		record->took = now - record->entry.began;
}

/* The gauge together with the connections, of one moment as nearly as can be: a reader that loses the
 * processor in between would subtract what does not belong together. */
static void read_gauges(const struct grd_slot *slot, uint64_t owner,
			struct grd_slot_record *record)
{
	uint64_t connections = grd_gauge_of(&slot->connections, owner), gauge, before, in_flight;
	int tries = TRIES;

	do {
		before = connections;
		gauge = grd_gauge_of(&slot->gauge, owner);
		connections = grd_gauge_of(&slot->connections, owner);
	} while (connections != before && --tries);
	record->calling = grd_calling_of(gauge);
	record->writing = grd_writing_of(gauge);
	in_flight = grd_calling_of(gauge) + grd_writing_of(gauge);
	if (grd_held_of(connections) > in_flight)
		record->reading = grd_held_of(connections) - in_flight;
	record->is_reading_known = (connections & GRD_COUNTS_CONNECTIONS) != 0;
}

/* A turn is due each second. One that has not come yet is late by what has passed since. */
static void read_lag(const struct grd_slot *slot, struct grd_slot_record *record)
{
	enum { SECOND = 1000000000 };
	uint64_t turned = grd_load_relaxed(&slot->turned), late = grd_load_relaxed(&slot->late);
	uint64_t now = grd_now(), overdue = now - turned - SECOND;

	record->is_lag_known = turned != 0;
	record->lag = turned + SECOND < now && overdue > late ? overdue : late;
}

/* What an owner that has taken the slot over has written there. */
static void read_owned(const struct grd_slot *slot, uint64_t owner,
		       struct grd_slot_record *record)
{
	uint64_t base_busy = grd_load_relaxed(&slot->base_busy);

	record->start = grd_load_relaxed(&slot->start);
	record->age = grd_load_relaxed(&slot->age);
	record->started = grd_load_relaxed(&slot->started);
	record->capacity = grd_load_relaxed(&slot->capacity);
	record->requests = grd_load_relaxed(&slot->requests) - grd_load_relaxed(&slot->base);
	read_gauges(slot, owner, record);
	record->websockets = grd_gauge_of(&slot->websockets, owner);
	record->busy = grd_busy_read(slot) - base_busy;
	read_lag(slot, record);
	read_entry(slot, record);
}

static void read_namespace(const struct grd_slot *slot, uint64_t owner,
			   struct grd_slot_record *record)
{
	uint64_t word = grd_load_acquire(&slot->namespace);

	record->namespace = word & GRD_BITS(GRD_NAMESPACE_BITS);
	record->is_namespace_known = grd_generation_of(word) == grd_generation_of(owner);
}

static void read_slot(const struct grd_slot *slot, uint64_t owner, int is_taken,
		      struct grd_slot_record *record)
{
	*record = (struct grd_slot_record){
		.state = grd_state_of(owner),
		.pid = grd_pid_of(owner),
		.tag = grd_tag_of(owner),
		.owner = owner,
	};
	read_namespace(slot, owner, record);
	if (is_taken)
		read_owned(slot, owner, record);
}

/* Read a slot while its owner word stays the same; 0 if it is free. A slot that changes hands
 * faster than this has no worker to show. */
static int read_settled(const struct grd_slot *slot, struct grd_slot_record *record)
{
	for (int i = 0; i < TRIES; i++) {
		uint64_t owner = grd_load_acquire(&slot->owner);

		if (grd_state_of(owner) == GRD_FREE)
			return 0;
		read_slot(slot, owner, grd_state_of(owner) != GRD_CLAIMED, record);
		grd_fence_acquire();
		if (grd_load_relaxed(&slot->owner) == owner)
			return 1;
	}
	return 0;
}

uint32_t grd_used(const struct grd_header *header, uint32_t count)
{
	uint64_t used = grd_load_relaxed(&header->used);

	return used < count ? (uint32_t)used : count;
}

uint32_t grd_list(const struct grd_slot *slots, uint32_t count, struct grd_slot_record *records)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++)
		if (read_settled(&slots[i], &records[found]))
			records[found++].slot = i;
	return found;
}

static void sum(const struct grd_slot *slot, struct grd_totals *totals)
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

uint32_t grd_read(const struct grd_slot *slots, uint32_t count, struct grd_slot_record *records,
		  struct grd_totals *totals, uint64_t *busy)
{
	uint32_t found = 0;

	*totals = (struct grd_totals){0};
	for (uint32_t i = 0; i < count; i++) {
		if (read_settled(&slots[i], &records[found]))
			records[found++].slot = i;
		busy[i] = grd_busy_read(&slots[i]);
		sum(&slots[i], totals);
	}
	return found;
}

int grd_read_last(const struct grd_slot *slot, uint64_t owner, struct grd_slot_record *record)
{
	uint64_t now = grd_load_acquire(&slot->owner);

	/* with the owner word of its claim, not that of the free slot that it may be by now */
	read_slot(slot, owner, grd_was_taken(slot, owner), record);
	grd_fence_acquire();
	return grd_generation_of(now) == grd_generation_of(owner) &&
	       grd_load_relaxed(&slot->owner) == now;
}

int grd_read_kill(const struct grd_header *header, uint64_t turn, struct grd_kill *copy)
{
	enum { WORDS = sizeof(struct grd_kill) / 8 };
	const struct grd_kill *kept = &header->killed[turn % GRD_KILLS_KEPT];
	uint64_t words[WORDS] = {turn};

	if (grd_load_acquire(&kept->turn) != turn)
		return 0;
	for (int i = 1; i < WORDS; i++)
		words[i] = grd_load_relaxed((const uint64_t *)kept + i);
	grd_fence_acquire();
	memcpy(copy, words, sizeof(words));
	return grd_load_relaxed(&kept->turn) == turn;
}

void grd_read_marks(const struct grd_header *header, uint32_t seconds, struct grd_high_water *most)
{
	grd_marks_read(&header->marks, grd_now(), seconds, most->mark);
}
