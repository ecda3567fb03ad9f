#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "atomic.h"

enum { GUARDS = 64 };

/* `length` is set last; 0: not in use. */
static struct range {
	uint64_t begin;
	uint64_t length;
	uint64_t lost;
} ranges[GUARDS];

static struct sigaction before;
static uint64_t passed_on;      /* times, since ours was installed */

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

/* The range that this thread has touched behind the end of its file. */
static struct range *faulted(const siginfo_t *info)
{
	return info->si_code > 0 ? range_of((uintptr_t)info->si_addr) : NULL;
}

/* Whether the file of a range ends before its last page: write(2) reports a page that cannot be
 * read as EFAULT, without a signal. */
static int is_cut(const struct range *range, int into)
{
	const char *last = (const char *)(uintptr_t)(grd_load_relaxed(&range->begin) - 1) +
			   grd_load_acquire(&range->length);

	return write(into, last, 1) < 0 && errno == EFAULT;
}

/* Replace each range whose file was cut; return how many. */
static int replace_cut(void)
{
	int ends[2], replaced = 0;

	if (pipe(ends) < 0)
		return 0;
	for (int i = 0; i < GUARDS; i++)
		if (grd_load_acquire(&ranges[i].length) && is_cut(&ranges[i], ends[1]))
			replaced += replace(&ranges[i]);
	close(ends[0]);
	close(ends[1]);
	return replaced;
}

/* Restore the earlier handler, which gets the signal next. It may restore ours in turn and raise the
 * signal again (faulthandler does); then the default ends the process. */
static void pass_on(int number, const siginfo_t *info)
{
	struct sigaction next = before;

	if (grd_add_relaxed(&passed_on, 1) > 1) {
		next.sa_flags = 0;
		next.sa_handler = SIG_DFL;
	}
	sigaction(number, &next, NULL);
	/* a fault repeats itself when this handler has returned, a signal that was sent does not */
	if (info->si_code <= 0)
		raise(number);
}

static void on_bus(int number, siginfo_t *info, void *context)
{
	int error = errno;
	struct range *range = faulted(info);

	(void)context;
	if (!(range ? replace(range) : info->si_code <= 0 && replace_cut()))
		pass_on(number, info);
	errno = error;
}

static int unblock(void)
{
	sigset_t bus;

	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	return -pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
}

int grd_guard_watch(void)
{
	struct sigaction now, ours = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	if (sigaction(SIGBUS, NULL, &now) < 0)
		return -errno;
	if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_bus) {
		before = now;
		grd_store_relaxed(&passed_on, 0);
		sigemptyset(&ours.sa_mask);
		if (sigaction(SIGBUS, &ours, NULL) < 0)
			return -errno;
	}
	return unblock();
}

int grd_guard(void *address, size_t length)
{
	int error = grd_guard_watch();

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
