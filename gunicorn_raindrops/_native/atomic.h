/* Atomic access to shared pages. Memory orders stand in this file only.
 *
 * A plain figure is added to and read relaxed: each stands for itself, and a reader that sums
 * them asks for no order between them. What publishes other words (a slot's owner, a histogram's
 * bucket) is written with release and loaded with acquire, so whoever sees the owner sees what it
 * wrote before. */
#ifndef GRD_ATOMIC_H
#define GRD_ATOMIC_H

#include <stdint.h>

static inline uint64_t grd_add_relaxed(uint64_t *at, uint64_t n)
{
	return __atomic_add_fetch(at, n, __ATOMIC_RELAXED);
}

/* What this thread wrote before is visible to whoever acquires the new value. */
static inline void grd_add_release(uint64_t *at, uint64_t n)
{
	__atomic_fetch_add(at, n, __ATOMIC_RELEASE);
}

static inline uint64_t grd_load_relaxed(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline void grd_store_relaxed(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* What was published before the value read is visible after this. */
static inline uint64_t grd_load_acquire(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

/* What this process wrote before is visible to whoever acquires the new value. */
static inline int grd_cas(uint64_t *at, uint64_t expected, uint64_t value)
{
	return __atomic_compare_exchange_n(at, &expected, value, 0,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* The same, for a loop: where it fails, `*expected` becomes what stands there. */
static inline int grd_cas_or_load(uint64_t *at, uint64_t *expected, uint64_t value)
{
	return __atomic_compare_exchange_n(at, expected, value, 0,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* What this thread wrote before is visible to whoever acquires the value. */
static inline void grd_store_release(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* Keeps the stores before it before the stores after it. */
static inline void grd_fence_release(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Keeps the loads before it before the loads after it. */
static inline void grd_fence_acquire(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

#endif
