#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "atomic.h"

enum { GUARDS = 8 };

/* `length` is set last; 0: not in use. */
static struct range {
	uint64_t begin;
	uint64_t length;
	uint64_t lost;
} ranges[GUARDS];

static struct sigaction before;

static struct range *range_of(uint64_t at)
{
	for (int i = 0; i < GUARDS; i++) {
		uint64_t length = grd_load_acquire(&ranges[i].length);

		if (length && at - grd_load_relaxed(&ranges[i].begin) < length)
			return &ranges[i];
	}
	return NULL;
}

/* Replace all of the range, not one page: its words belong together. */
static int replace(struct range *range)
{
	void *at = (void *)(uintptr_t)range->begin;

	grd_store_relaxed(&range->lost, 1);
	return mmap(at, range->length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at;
}

static void on_bus(int number, siginfo_t *info, void *context)
{
	int error = errno;
	/* si_code above 0: the kernel's, and si_addr is where */
	struct range *range = info->si_code > 0 ? range_of((uintptr_t)info->si_addr) : NULL;

	(void)context;
	if (!range || !replace(range)) {
		/* not ours: restore the earlier handler, which gets the signal next */
		sigaction(number, &before, NULL);
		raise(number);
	}
	errno = error;
}

static int watch(void)
{
	static int watching;
	struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	if (watching)
		return 0;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &before) < 0)
		return -errno;
	watching = 1;
	return 0;
}

int grd_guard(void *address, size_t length)
{
	int error = watch();

	if (error)
		return error;
	for (int i = 0; i < GUARDS; i++) {
		if (grd_load_relaxed(&ranges[i].length))
			continue;
		grd_store_relaxed(&ranges[i].lost, 0);
		grd_store_relaxed(&ranges[i].begin, (uintptr_t)address);
		/* the handler finds a range by its length, and then the rest */
		grd_store_release(&ranges[i].length, length);
		return i;
	}
	return -ENOSPC;
}

void grd_unguard(int guard)
{
	if (guard >= 0)
		grd_store_relaxed(&ranges[guard].length, 0);
}

int grd_lost(int guard)
{
	return guard >= 0 && grd_load_relaxed(&ranges[guard].lost);
}
