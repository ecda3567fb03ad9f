/* Workers without a slot: how many there are, by the process that counts them.
 *
 * A gauge must not outlive who holds it. So each process that counts such workers (an arbiter those
 * that it forked, a process without an arbiter itself) has an entry with its pid. A reader leaves
 * out the entry of a process that is dead; the next process that needs one frees it. The first
 * GRD_TALLIES processes have an entry; what others count is left out. */
#ifndef GRD_UNTRACKED_H
#define GRD_UNTRACKED_H

#include <stdint.h>

#include "layout.h"
#include "reading.h"
#include "scoreboard.h"

/* cffi: begin */
/* Count `n` more workers, for this process; 0 if there is no entry for it. */
int grd_add_untracked(struct grd_header *header, const struct grd_owner *process, int64_t n);

/* List the entries as slots that their process has claimed, `calling` of them workers each; the
 * array has room for GRD_TALLIES. Return how many. */
uint32_t grd_list_untracked(const struct grd_header *header, struct grd_slot_record *records);

/* Free an entry, unless it has changed since it was listed. */
void grd_free_untracked(struct grd_header *header, uint32_t index, uint64_t word);
/* cffi: end */

#endif
