#include "tally.h"

#include <string.h>

#include "words.h"

enum { TRIES = 8 };

static int is_of(uint64_t word, uint64_t who)
{
	return (word & GRD_BITS(GRD_GENERATION_SHIFT)) == who;
}

static uint64_t number_of(uint64_t word)
{
	return word >> GRD_GENERATION_SHIFT;
}

/* The namespace, above the low bits of the word that it belongs to. */
static uint64_t namespace_of(uint64_t who, uint64_t namespace)
{
	return namespace << GRD_NAMESPACE_BITS | (who & GRD_BITS(GRD_NAMESPACE_BITS));
}

static uint64_t word_of(int64_t n, uint64_t who)
{
	return n > 0 ? (uint64_t)n << GRD_GENERATION_SHIFT | who : 0;
}

/* Add to the number of an entry, or with `sets` replace it; 0 if it is not this process's. */
static int change(struct grd_tally *entry, uint64_t who, int64_t n, int sets)
{
	uint64_t word = grd_load_relaxed(&entry->word);

	for (int i = 0; i < TRIES && is_of(word, who); i++) {
		int64_t before = sets ? 0 : (int64_t)number_of(word);

		if (grd_cas_or_load(&entry->word, &word, word_of(before + n, who)))
			return 1;
	}
	return 0;
}

static int begin(struct grd_tally *entry, const struct grd_owner *process, int64_t n)
{
	if (!grd_cas(&entry->word, 0, word_of(n, process->who)))
		return 0;
	grd_store_release(&entry->namespace, namespace_of(process->who, process->namespace));
	return 1;
}

static int change_or_begin(struct grd_tally *entries, uint32_t count,
			   const struct grd_owner *process, int64_t n, int sets)
{
	for (uint32_t i = 0; i < count; i++)
		if (change(&entries[i], process->who, n, sets))
			return 1;
	for (uint32_t i = 0; i < count && n > 0; i++)
		if (begin(&entries[i], process, n))
			return 1;
	return 0;
}

int grd_tally_add(struct grd_tally *entries, uint32_t count, const struct grd_owner *process,
		  int64_t n)
{
	return change_or_begin(entries, count, process, n, 0);
}

int grd_tally_set(struct grd_tally *entries, uint32_t count, const struct grd_owner *process,
		  uint64_t n)
{
	return change_or_begin(entries, count, process, (int64_t)n, 1);
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
	record->calling = (uint32_t)number_of(word);
}

uint32_t grd_tally_list(const struct grd_tally *entries, uint32_t count,
			struct grd_slot_record *records)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t word = grd_load_acquire(&entries[i].word);

		if (word) {
			read_entry(&entries[i], word, &records[found]);
			records[found++].slot = i;
		}
	}
	return found;
}

void grd_tally_free(struct grd_tally *entry, uint64_t word)
{
	uint64_t now = grd_load_acquire(&entry->word);

	if (is_of(now, word))
		grd_cas(&entry->word, now, 0);
}
