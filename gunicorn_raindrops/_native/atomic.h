/* Atomic access to shared pages. Memory orders stand in this file only.
 *
 * Counters are added to and loaded relaxed: each stands for itself. A word that publishes others
 * (a slot's owner, a histogram's bucket) is written with release and loaded with acquire, so a
 * process that sees the owner sees what the owner wrote before. layout.h says it for each word. */
#ifndef GRD_ATOMIC_H
#define GRD_ATOMIC_H

#include <stdint.h>

static inline uint64_t grd_add_relaxed(uint64_t *at, uint64_t n)
{
	return __atomic_add_fetch(at, n, __ATOMIC_RELAXED);
}

/* What this thread wrote before is visible to a thread that acquires the new value. */
static inline uint64_t grd_add_release(uint64_t *at, uint64_t n)
{
	return __atomic_add_fetch(at, n, __ATOMIC_RELEASE);
}

/* The addition is done before anything that follows it, a look at the clock included: on x86 the
 * locked instruction is a full barrier, and the clock is read behind a fence (vdso(7)). */
static inline uint64_t grd_add_seq_cst(uint64_t *at, uint64_t n)
{
	return __atomic_add_fetch(at, n, __ATOMIC_SEQ_CST);
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

/* Keeps the loads and stores before it before the stores after it. */
static inline void grd_fence_release(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Keeps the loads before it before the loads and stores after it. */
static inline void grd_fence_acquire(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

/* Keeps all that is before it before all that is after it. */
static inline void grd_fence_seq_cst(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
