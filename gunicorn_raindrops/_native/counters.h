/* Counters in shared memory: what Raindrops and Struct are made of.
 *
 * The functions that Python calls are not cffi's but builtins made here, bound to the counters
 * they work on (counters.c). Two reasons. Speed: they skip what cffi does around a call. Safety:
 * they convert their arguments, which may run any Python code, before they look at where the
 * counters are, and do not give up the GIL from there on; so a close() or a growth in between, by
 * that code or another thread, is seen, and no address ever stands in a Python variable. */
#ifndef GRD_COUNTERS_H
#define GRD_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
struct grd_counters {
	char *base;             /* NULL once closed */
	size_t size;            /* how many there are */
	size_t stride;          /* bytes from one to the next */
};

/* Append builtins to a list. `list` and `keep` are id()s of Python objects, since cffi passes none;
 * the builtins hold a reference to `keep`, which owns `counters` and their memory. Both return -1
 * if there is no memory for that. */

/* add(i, n), subtract(i, n), get(i), set(i, value) */
int grd_bind(uintptr_t list, uintptr_t keep, struct grd_counters *counters);
/* incr(n=1), decr(n=1) of counter i */
int grd_bind_one(uintptr_t list, uintptr_t keep, struct grd_counters *counters, size_t i);

void *grd_map(int fd, size_t length);           /* shared, read and write; NULL with errno */
void grd_unmap(void *address, size_t length);
size_t grd_line_size(void);                     /* bytes that two counters must be apart */
/* cffi: end */

#endif
