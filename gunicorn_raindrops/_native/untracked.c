#include "untracked.h"

#include <string.h>

#include "words.h"

enum { TRIES = 8 };

static int is_of(uint64_t word, uint64_t who)
{
	return (word & GRD_BITS(GRD_GENERATION_SHIFT)) == who;
}

static uint64_t workers_of(uint64_t word)
{
	return word >> GRD_GENERATION_SHIFT;
}

/* The namespace, above the low bits of the word that it belongs to. */
static uint64_t namespace_of(uint64_t who, uint64_t namespace)
{
	return namespace << GRD_NAMESPACE_BITS | (who & GRD_BITS(GRD_NAMESPACE_BITS));
}

static int add(struct grd_tally *entry, uint64_t who, int64_t n)
{
	uint64_t word = grd_load_relaxed(&entry->word);

	for (int i = 0; i < TRIES && is_of(word, who); i++) {
		int64_t workers = (int64_t)workers_of(word) + n;

		if (grd_cas_or_load(&entry->word, &word,
				    workers > 0 ? (uint64_t)workers << GRD_GENERATION_SHIFT | who : 0))
			return 1;
	}
	return 0;
}

static int begin(struct grd_tally *entry, const struct grd_owner *process, int64_t n)
{
	if (!grd_cas(&entry->word, 0, (uint64_t)n << GRD_GENERATION_SHIFT | process->who))
		return 0;
	grd_store_release(&entry->namespace, namespace_of(process->who, process->namespace));
	return 1;
}

int grd_add_untracked(struct grd_header *header, const struct grd_owner *process, int64_t n)
{
	for (int i = 0; i < GRD_TALLIES; i++)
		if (add(&header->untracked[i], process->who, n))
			return 1;
	for (int i = 0; i < GRD_TALLIES && n > 0; i++)
		if (begin(&header->untracked[i], process, n))
			return 1;
	return 0;
}

static void read_entry(const struct grd_tally *entry, uint64_t word,
		       struct grd_slot_record *record)
{
	uint64_t namespace = grd_load_acquire(&entry->namespace);

	memset(record, 0, sizeof(*record));
	record->state = GRD_CLAIMED;
	record->pid = grd_pid_of(word);
	record->tag = grd_tag_of(word);
	record->owner = word & GRD_BITS(GRD_GENERATION_SHIFT);
	record->namespace = namespace >> GRD_NAMESPACE_BITS;
	record->is_namespace_known = namespace == namespace_of(word, record->namespace);
	record->calling = (uint32_t)workers_of(word);
}

uint32_t grd_list_untracked(const struct grd_header *header, struct grd_slot_record *records)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < GRD_TALLIES; i++) {
		uint64_t word = grd_load_acquire(&header->untracked[i].word);

		if (word) {
			read_entry(&header->untracked[i], word, &records[found]);
			records[found++].slot = i;
		}
	}
	return found;
}

void grd_free_untracked(struct grd_header *header, uint32_t index, uint64_t word)
{
	uint64_t now = grd_load_acquire(&header->untracked[index].word);

	if (is_of(now, word))
		grd_cas(&header->untracked[index].word, now, 0);
}
