/* The clock of all instants in the shared pages. Its read is a few instructions of user space
 * (vdso(7)), no system call. */
#ifndef GRD_CLOCK_H
#define GRD_CLOCK_H

#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC, ns: the same in every process of one boot. */
static inline uint64_t grd_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Unix time, ns. */
static inline int64_t grd_unix_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
