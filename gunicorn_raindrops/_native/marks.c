#include "marks.h"

#include "atomic.h"
#include "words.h"

#define COUNT_MASK 0xffffffffull
#define ONE_WRITING GRD_ONE_WRITING
#define ONE_CALLING GRD_ONE_CALLING
#define ONE_TURN GRD_ONE_GENERATION

enum { SECOND_SHIFT = 32, NS = 1000000000, RAISE_TRIES = 64 };

/* What a field was before a step that lowered it, else what it is. */
static uint64_t highest(uint64_t count, int step)
{
	return step < 0 ? count + (uint64_t)-step : count;
}

/* Each try that fails lost to another step. A request does not wait here for ever. */
static void raise_to(uint64_t *at, uint64_t value)
{
	uint64_t now = grd_load_relaxed(at);

	for (int i = 0; i < RAISE_TRIES && now < value; i++)
		if (grd_cas_or_load(at, &now, value))
			return;
}

void grd_marks_raise(struct grd_marks *marks, uint64_t now, int what, uint64_t count)
{
	uint64_t second = now / NS;

	if (count <= GRD_LEVEL_HIGHEST)
		raise_to(&marks->seconds[second % GRD_MARK_SECONDS][what],
			 second << SECOND_SHIFT | count);
}

static uint64_t step_of(int calling, int writing)
{
	return (uint64_t)calling * ONE_CALLING + (uint64_t)writing * ONE_WRITING;
}

void grd_marks_step(struct grd_marks *marks, uint64_t now, int calling, int writing)
{
	/* release: a look that finds an end here finds it in the gauge */
	uint64_t level = grd_add_release(&marks->level, ONE_TURN + step_of(calling, writing));

	if (calling)
		grd_marks_raise(marks, now, GRD_MARK_CALLING,
				highest(grd_calling_of(level), calling));
	if (writing)
		grd_marks_raise(marks, now, GRD_MARK_WRITING,
				highest(grd_writing_of(level), writing));
}

static int with_sign(uint64_t field)
{
	field &= GRD_BITS(GRD_GAUGE_BITS);
	return field > GRD_LEVEL_HIGHEST ? (int)field - (1 << GRD_GAUGE_BITS) : (int)field;
}

void grd_level_excess(uint64_t level, uint64_t calling, uint64_t writing, int *excess)
{
	uint64_t left = level - calling * ONE_CALLING - writing * ONE_WRITING;

	excess[GRD_MARK_WRITING] = with_sign(left);
	/* without what the field below has borrowed */
	left -= (uint64_t)excess[GRD_MARK_WRITING];
	excess[GRD_MARK_CALLING] = with_sign(left >> GRD_GAUGE_BITS);
}

int grd_level_correct(struct grd_marks *marks, uint64_t seen, const int *excess)
{
	uint64_t step = step_of(excess[GRD_MARK_CALLING], excess[GRD_MARK_WRITING]);

	return grd_cas(&marks->level, seen, seen + ONE_TURN - step);
}

static uint64_t second_of(const struct grd_marks *marks, int i, int what)
{
	return grd_load_relaxed(&marks->seconds[i][what]) >> SECOND_SHIFT;
}

static uint64_t most_of(const struct grd_marks *marks, int what, uint64_t first, uint64_t last)
{
	uint64_t most = 0;

	for (int i = 0; i < GRD_MARK_SECONDS; i++) {
		uint64_t word = grd_load_relaxed(&marks->seconds[i][what]);
		uint64_t second = word >> SECOND_SHIFT;

		if (second >= first && second <= last && (word & COUNT_MASK) > most)
			most = word & COUNT_MASK;
	}
	return most;
}

void grd_marks_read(const struct grd_marks *marks, uint64_t now, uint32_t seconds, uint64_t *most)
{
	uint64_t last = now / NS, first = last > seconds ? last - seconds : 0;

	for (int what = 0; what < GRD_MARKS; what++)
		most[what] = most_of(marks, what, first, last);
}

uint64_t grd_marks_last(const struct grd_marks *marks)
{
	uint64_t last = 0;

	for (int what = 0; what < GRD_MARKS; what++)
		for (int i = 0; i < GRD_MARK_SECONDS; i++)
			if (second_of(marks, i, what) > last)
				last = second_of(marks, i, what);
	return (last + 1) * NS;
}
