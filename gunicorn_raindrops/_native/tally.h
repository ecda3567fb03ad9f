/* Numbers that processes hold: how many workers have no slot, and how many are wanted.
 *
 * A gauge must not outlive who holds it. So each process that holds a number (an arbiter, or a
 * process without one) has an entry with its pid. A reader leaves out the entry of a process that is
 * dead; the next process that needs one frees it. The first processes have an entry, as many as
 * there is room for; what others hold is left out. */
#ifndef GRD_TALLY_H
#define GRD_TALLY_H

#include <stdint.h>

#include "layout.h"
#include "reading.h"
#include "scoreboard.h"

/* cffi: begin */
/* Add to the number of this process. An entry that comes to 0 is freed. Return 0 if there is no
 * entry for it. */
int grd_tally_add(struct grd_tally *entries, uint32_t count, const struct grd_owner *process,
		  int64_t n);

/* Have this process hold a number, above 0; return 0 if there is no entry for it. */
int grd_tally_set(struct grd_tally *entries, uint32_t count, const struct grd_owner *process,
		  uint64_t n);

/* List the entries as slots that their process has claimed, `calling` is the number of each; the
 * array has room for `count`. Return how many. */
uint32_t grd_tally_list(const struct grd_tally *entries, uint32_t count,
			struct grd_slot_record *records);

/* Free an entry, unless it has changed hands since it was listed. */
void grd_tally_free(struct grd_tally *entry, uint64_t word);
/* cffi: end */

#endif
