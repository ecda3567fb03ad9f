/* Pages of a file that somebody else may cut short.
 *
 * Touching a mapped page behind the end of its file is SIGBUS (mmap(2)), in whichever process
 * counts a request there. A guarded range is replaced by zero pages of the process's own instead,
 * and is lost from then on: what is counted there is nobody's any more, but nobody dies of it. */
#ifndef GRD_GUARD_H
#define GRD_GUARD_H

#include <stddef.h>

/* cffi: begin */
int grd_guard(void *address, size_t length);    /* its number; -errno, or -ENOSPC for too many */
void grd_unguard(int guard);
int grd_lost(int guard);
/* cffi: end */

#endif
