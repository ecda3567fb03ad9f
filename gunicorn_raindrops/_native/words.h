/* The parts of an owner word and of the words that repeat its generation. */
#ifndef GRD_WORDS_H
#define GRD_WORDS_H

#include "atomic.h"
#include "layout.h"

#define GRD_BITS(n) ((1ull << (n)) - 1)
#define GRD_ONE_GENERATION (1ull << GRD_GENERATION_SHIFT)

static inline uint32_t grd_state_of(uint64_t owner)
{
	return (owner >> GRD_PID_BITS) & GRD_BITS(GRD_STATE_BITS);
}

static inline uint64_t grd_with_state(uint64_t owner, uint64_t state)
{
	return (owner & ~(GRD_BITS(GRD_STATE_BITS) << GRD_PID_BITS)) | (state << GRD_PID_BITS);
}

static inline uint32_t grd_pid_of(uint64_t owner)
{
	return owner & GRD_BITS(GRD_PID_BITS);
}

static inline uint32_t grd_tag_of(uint64_t owner)
{
	return (owner >> (GRD_PID_BITS + GRD_STATE_BITS)) & GRD_BITS(GRD_TAG_BITS);
}

/* The generation, where it stands; as an owner, a free slot of that generation. */
static inline uint64_t grd_generation_of(uint64_t word)
{
	return word & ~GRD_BITS(GRD_GENERATION_SHIFT);
}

static inline uint64_t grd_calling_of(uint64_t gauge)
{
	return (gauge >> GRD_GAUGE_BITS) & GRD_BITS(GRD_GAUGE_BITS);
}

static inline uint64_t grd_writing_of(uint64_t gauge)
{
	return gauge & GRD_BITS(GRD_GAUGE_BITS);
}

/* How many threads of a slot's owner hold a connection. */
static inline uint64_t grd_held_of(uint64_t connections)
{
	return connections & GRD_BITS(GRD_GAUGE_BITS);
}

/* A gauge of `owner`, without its generation; 0 if an earlier owner has left it. */
static inline uint64_t grd_gauge_of(const uint64_t *at, uint64_t owner)
{
	uint64_t gauge = grd_load_acquire(at);
	int is_its = grd_generation_of(gauge) == grd_generation_of(owner) &&
		     grd_state_of(owner) != GRD_FREE;

	return is_its ? gauge & GRD_BITS(GRD_GENERATION_SHIFT) : 0;
}

#endif
