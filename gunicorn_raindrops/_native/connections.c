#include "connections.h"

#include <stddef.h>

#include "atomic.h"
#include "requests.h"

/* Where the connection that this thread holds is counted; NULL: it holds none. */
static __thread struct grd_held *holds;

void grd_count_connections(void)
{
	uint64_t *word = &grd_attached()->slot->connections;

	/* no other thread counts there yet */
	grd_store_relaxed(word, grd_load_relaxed(word) | GRD_COUNTS_CONNECTIONS);
}

int grd_take_connection(void)
{
	struct grd_held *held = grd_attached();

	if (holds || !grd_is_ours(held))
		return 0;
	holds = held;
	grd_add_relaxed(&held->slot->connections, 1);
	return 1;
}

void grd_leave_connection(void)
{
	struct grd_held *held = holds;

	holds = NULL;
	if (held && grd_is_ours(held))
		grd_add_relaxed(&held->slot->connections, 0 - 1ull);
}
