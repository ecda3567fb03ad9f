#include "marks.h"

#include "atomic.h"

#define LEVEL_MASK ((1ull << GRD_LEVEL_BITS) - 1)
#define COUNT_MASK 0xffffffffull

static const uint64_t ONE_WRITING = 1, ONE_CALLING = 1ull << GRD_LEVEL_BITS,
		      ONE_TURN = 1ull << (2 * GRD_LEVEL_BITS);

enum { SECOND_SHIFT = 32, NS = 1000000000 };

static uint64_t calling_of(uint64_t level)
{
	return (level >> GRD_LEVEL_BITS) & LEVEL_MASK;
}

static uint64_t writing_of(uint64_t level)
{
	return level & LEVEL_MASK;
}

/* What it was before a step that took some away, else what it is. */
static uint64_t highest(uint64_t count, int step)
{
	return step < 0 ? count + (uint64_t)-step : count;
}

static void raise_to(uint64_t *at, uint64_t value)
{
	uint64_t now = grd_load_relaxed(at);

	while (now < value && !grd_cas_or_load(at, &now, value))
		;
}

/* Nothing of a level that went under 0, which the next reader puts right. */
static uint64_t known(uint64_t count)
{
	return count <= GRD_LEVEL_HIGHEST ? count : 0;
}

void grd_marks_raise(struct grd_marks *marks, uint64_t now, int what, uint64_t count)
{
	uint64_t second = now / NS;

	if (count <= GRD_LEVEL_HIGHEST)
		raise_to(&marks->seconds[second % GRD_MARK_SECONDS][what],
			 second << SECOND_SHIFT | count);
}

void grd_marks_step(struct grd_marks *marks, uint64_t now, int calling, int writing)
{
	uint64_t step = (uint64_t)calling * ONE_CALLING + (uint64_t)writing * ONE_WRITING;
	uint64_t level = grd_add_relaxed(&marks->level, ONE_TURN + step);

	if (calling)
		grd_marks_raise(marks, now, GRD_MARK_CALLING, highest(calling_of(level), calling));
	if (writing)
		grd_marks_raise(marks, now, GRD_MARK_WRITING, highest(writing_of(level), writing));
}

void grd_marks_correct(struct grd_marks *marks, uint64_t seen, uint64_t calling, uint64_t writing)
{
	uint64_t level = calling * ONE_CALLING + writing * ONE_WRITING;
	uint64_t turn = seen & ~(ONE_TURN - 1);

	if (seen - turn != level)
		grd_cas(&marks->level, seen, turn + ONE_TURN + level);
}

void grd_marks_read(const struct grd_marks *marks, uint64_t now, uint32_t seconds, uint64_t *most)
{
	uint64_t last = now / NS, first = last > seconds ? last - seconds : 0;
	uint64_t level = grd_load_relaxed(&marks->level);

	most[GRD_MARK_CALLING] = known(calling_of(level));
	most[GRD_MARK_WRITING] = known(writing_of(level));
	most[GRD_MARK_QUEUED] = 0;
	for (int what = 0; what < GRD_MARKS; what++) {
		for (int i = 0; i < GRD_MARK_SECONDS; i++) {
			uint64_t word = grd_load_relaxed(&marks->seconds[i][what]);
			uint64_t second = word >> SECOND_SHIFT;

			if (second >= first && second <= last && (word & COUNT_MASK) > most[what])
				most[what] = word & COUNT_MASK;
		}
	}
}
