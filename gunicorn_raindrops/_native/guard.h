/* Pages of a file that another process may cut short.
 *
 * A process that touches a mapped page behind the end of its file gets SIGBUS (mmap(2)). A guarded
 * range is then replaced by private zero pages, and is lost from then on: no reader sees what is
 * counted there, but the process lives. */
#ifndef GRD_GUARD_H
#define GRD_GUARD_H

#include <stddef.h>

/* cffi: begin */
int grd_guard(void *address, size_t length);    /* a guard's number; -ENOSPC: too many; -errno */
void grd_unguard(int guard);
int grd_lost(int guard);
/* cffi: end */

#endif
