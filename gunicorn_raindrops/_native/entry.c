#include "entry.h"

#include <string.h>

#include "atomic.h"

enum {
	FIRST = 1,
	HEAD = 3,
	WORDS = offsetof(struct grd_entry, looked) / 8,         /* of the request */
	WHERE_WORDS = sizeof(((struct grd_entry *)0)->where) / 8,
	TRIES = 8
};

_Static_assert(offsetof(struct grd_entry, began) == 8 * FIRST, "turn is the word before");
_Static_assert(offsetof(struct grd_entry, text) == 8 * HEAD, "text begins a word");
_Static_assert(GRD_ENTRIES == 32, "a bit each of those that are taken");

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Returns how many words there are to write. */
static int fill(struct grd_entry *next, struct grd_line line)
{
	next->method = least(line.method_size, GRD_ENTRY_METHOD);
	next->path = least(line.path_size, GRD_ENTRY_TEXT - next->method);
	next->cut = next->path < line.path_size;
	memcpy(next->text, line.method, next->method);
	memcpy(next->text + next->method, line.path, next->path);
	return HEAD + (next->method + next->path + 7) / 8;
}

void grd_entry_begin(struct grd_entry *entry, uint64_t now, struct grd_line line)
{
	uint64_t odd = grd_load_relaxed(&entry->turn) | 1, words[WORDS];
	struct grd_entry next = {.began = now};
	int count = fill(&next, line);

	memcpy(words, &next, sizeof(words));
	grd_store_relaxed(&entry->turn, odd);
	/* a process that sees one of these words sees the odd turn as well */
	grd_fence_release();
	for (int i = FIRST; i < count; i++)
		grd_store_relaxed((uint64_t *)entry + i, words[i]);
	grd_store_release(&entry->turn, odd + 1);
}

void grd_entry_end(struct grd_entry *entry)
{
	grd_store_relaxed(&entry->began, 0);
}

int grd_entry_look(struct grd_entry *entry, uint64_t began, const char *where, size_t size)
{
	uint64_t turn = grd_load_relaxed(&entry->turn), words[WHERE_WORDS] = {0};

	if (grd_load_relaxed(&entry->began) != began)
		return 0;
	memcpy(words, where, least(size, sizeof(words) - 1));
	grd_store_relaxed(&entry->looked, turn | 1);
	/* a process that sees one of these words sees that they are being written as well */
	grd_fence_release();
	for (int i = 0; i < WHERE_WORDS; i++)
		grd_store_relaxed((uint64_t *)entry->where + i, words[i]);
	grd_store_release(&entry->looked, turn);
	return 1;
}

/* What the request of this turn was doing, if it was looked at. */
static void copy_where(struct grd_entry *copy, const struct grd_entry *entry)
{
	uint64_t looked = grd_load_acquire(&entry->looked), words[WHERE_WORDS];

	for (int i = 0; i < WHERE_WORDS; i++)
		words[i] = grd_load_relaxed((const uint64_t *)entry->where + i);
	grd_fence_acquire();
	if (looked != copy->turn || grd_load_relaxed(&entry->looked) != looked)
		memset(words, 0, sizeof(words));
	copy->looked = looked;
	memcpy(copy->where, words, sizeof(words));
}

int grd_entry_copy(struct grd_entry *copy, const struct grd_entry *entry)
{
	uint64_t words[WORDS];

	words[0] = grd_load_acquire(&entry->turn);
	for (int i = FIRST; i < WORDS; i++)
		words[i] = grd_load_relaxed((const uint64_t *)entry + i);
	memcpy(copy, words, sizeof(words));
	copy_where(copy, entry);
	grd_fence_acquire();
	return !(words[0] & 1) && grd_load_relaxed(&entry->turn) == words[0];
}

static const struct grd_entry *find(const struct grd_entry *entries, uint64_t *began)
{
	const struct grd_entry *oldest = NULL;

	*began = UINT64_MAX;
	for (int i = 0; i < GRD_ENTRIES; i++) {
		uint64_t at = grd_load_relaxed(&entries[i].began);

		if (at && at < *began) {
			*began = at;
			oldest = &entries[i];
		}
	}
	return oldest;
}

int grd_entry_oldest(struct grd_entry *copy, const struct grd_entry *entries)
{
	for (int i = 0; i < TRIES; i++) {
		uint64_t began;
		const struct grd_entry *oldest = find(entries, &began);

		if (!oldest)
			break;
		if (grd_entry_copy(copy, oldest) && copy->began == began)
			return 1;
	}
	*copy = (struct grd_entry){0};
	return 0;
}

void grd_entries_clear(struct grd_entry *entries)
{
	for (int i = 0; i < GRD_ENTRIES; i++)
		if (grd_load_relaxed(&entries[i].began))
			grd_store_relaxed(&entries[i].began, 0);
}
