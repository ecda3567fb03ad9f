/* What processes use, as proc_pid_stat(5) has it. */
#ifndef GRD_USAGE_H
#define GRD_USAGE_H

#include <stdint.h>

/* cffi: begin */
struct grd_usage {              /* of a process; -1 for both where it cannot be known */
	int64_t cpu;            /* time that its threads have run, ns */
	int64_t resident;       /* memory, bytes */
};

/* Read what so many processes use. Some 10 us each: not for one that holds the GIL. */
void grd_usage(const uint32_t *pids, uint32_t count, struct grd_usage *usage);
/* cffi: end */

#endif
