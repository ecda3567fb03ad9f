#include "history.h"

#include "atomic.h"

enum { FIGURE_BITS = 32 };

#define FIGURE_MASK 0xffffffffull

static uint64_t cut(uint64_t figure)
{
	return figure > FIGURE_MASK ? 0 : figure;
}

void grd_history_keep(struct grd_header *header, const struct grd_moment *moment)
{
	struct grd_second *kept = &header->history[moment->second % GRD_HISTORY_SECONDS];

	grd_store_relaxed(&kept->second, 0);
	grd_fence_release(); /* who sees a figure sees the 0 */
	for (int i = 0; i < GRD_HISTORY_WORDS; i++)
		grd_store_relaxed(&kept->words[i],
				  cut(moment->figures[2 * i]) |
				  cut(moment->figures[2 * i + 1]) << FIGURE_BITS);
	grd_store_release(&kept->second, moment->second);
}

static int copy(const struct grd_second *kept, uint64_t second, struct grd_moment *moment)
{
	if (grd_load_acquire(&kept->second) != second)
		return 0;
	moment->second = second;
	for (int i = 0; i < GRD_HISTORY_WORDS; i++) {
		uint64_t word = grd_load_relaxed(&kept->words[i]);

		moment->figures[2 * i] = word & FIGURE_MASK;
		moment->figures[2 * i + 1] = word >> FIGURE_BITS;
	}
	grd_fence_acquire(); /* the figures before the second again */
	return grd_load_relaxed(&kept->second) == second;
}

uint32_t grd_history_list(const struct grd_header *header, uint64_t last,
			  struct grd_moment *moments)
{
	uint32_t found = 0;

	for (uint64_t ago = GRD_HISTORY_SECONDS; ago-- > 0;) {
		uint64_t second = last > ago ? last - ago : 0;

		if (second)
			found += (uint32_t)copy(&header->history[second % GRD_HISTORY_SECONDS], second,
						&moments[found]);
	}
	return found;
}
