#include "usage.h"

#include <stdlib.h>
#include <unistd.h>

#include "process.h"

enum { SECOND = 1000000000, UTIME = 14, STIME = 15, RSS = 24 };         /* fields */

static int64_t number(const char *stat, int field)
{
	const char *at = grd_stat_field(stat, field);

	return at ? strtoll(at, NULL, 10) : 0;
}

static struct grd_usage parse(const char *stat)
{
	int64_t ticks = number(stat, UTIME) + number(stat, STIME);

	if (!grd_stat_field(stat, GRD_STAT_STATE))
		return (struct grd_usage){-1, -1};
	return (struct grd_usage){
		.cpu = ticks * (SECOND / sysconf(_SC_CLK_TCK)),
		.resident = number(stat, RSS) * sysconf(_SC_PAGESIZE),
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
