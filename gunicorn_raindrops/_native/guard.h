/* Pages of a file that another process may cut short.
 *
 * A process that touches a mapped page behind the end of its file gets SIGBUS (mmap(2)). A guarded
 * range is then replaced by private zero pages, and is lost from then on: no reader sees what is
 * counted there, but the process lives.
 *
 * Other handlers. A handler that an application installs later (faulthandler.enable() does) stands
 * in front of ours. One that calls or raises on ends up here, without an address: then each range is
 * probed. `grd_guard_watch` puts our handler in front again, and the other one behind it.
 *
 * Masks. The kernel kills a process whose faulting thread blocks the signal, whatever the handler.
 * `grd_guard_watch` unblocks SIGBUS in the calling thread, and so in all threads and processes that
 * it starts later. A thread that blocks SIGBUS itself after that is not guarded. */
#ifndef GRD_GUARD_H
#define GRD_GUARD_H

#include <stddef.h>

/* cffi: begin */
int grd_guard(void *address, size_t length);    /* a guard's number; -ENOSPC: too many; -errno */
void grd_unguard(int guard);
int grd_guard_watch(void);                      /* 0 or -errno; one or two system calls */
int grd_lost(int guard);
/* cffi: end */

#endif
