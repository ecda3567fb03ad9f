/* Socket calls that never wait, for the status thread.
 *
 * Python's own accept() gives up the GIL. If another thread then enters a long C call, the
 * connection is accepted but not answered until that call ends, though another worker could have
 * answered at once. These functions keep the GIL from accept to the last byte. All return -errno on
 * failure. */
#ifndef GRD_NOWAIT_H
#define GRD_NOWAIT_H

#include <stddef.h>

/* cffi: begin */
int grd_accept(int fd);                                         /* a close-on-exec descriptor */
int grd_receive(int fd, char *buffer, size_t length);           /* bytes; 0 at the end */
int grd_send(int fd, const char *data, size_t length);
int grd_shutdown(int fd);                                       /* no more will be sent */
/* cffi: end */

#endif
