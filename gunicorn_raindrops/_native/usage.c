#include "usage.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"

enum { SECOND = 1000000000, STATE = 3, UTIME = 14, STIME = 15, RSS = 24 };      /* fields */

/* Returns where a field begins; `from` is that of field STATE. */
static const char *field(const char *from, int number)
{
	for (int i = STATE; from && i < number; i++) {
		from = strchr(from, ' ');
		from = from ? from + 1 : NULL;
	}
	return from;
}

static int64_t number(const char *from, int which)
{
	const char *at = field(from, which);

	return at ? strtoll(at, NULL, 10) : 0;
}

static struct grd_usage parse(const char *stat)
{
	const char *state = strrchr(stat, ')');
	int64_t ticks;

	if (!state || state[1] != ' ')
		return (struct grd_usage){-1, -1};
	state += 2;
	ticks = number(state, UTIME) + number(state, STIME);
	return (struct grd_usage){
		.cpu = ticks * (SECOND / sysconf(_SC_CLK_TCK)),
		.resident = number(state, RSS) * sysconf(_SC_PAGESIZE),
	};
}

void grd_usage(const uint32_t *pids, uint32_t count, struct grd_usage *usage)
{
	int is_ours = grd_proc_is_ours();

	for (uint32_t i = 0; i < count; i++) {
		char stat[1024];
		ssize_t got = is_ours ? grd_read_stat(pids[i], stat, sizeof(stat) - 1) : -1;

		usage[i] = (struct grd_usage){-1, -1};
		if (got > 0) {
			stat[got] = 0;
			usage[i] = parse(stat);
		}
	}
}
