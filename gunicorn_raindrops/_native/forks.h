/* What children must not keep. A process that a worker forks gets a copy of the worker's status
 * listener. Nobody serves the copy, and it holds the address after the server's end. */
#ifndef GRD_FORKS_H
#define GRD_FORKS_H

/* cffi: begin */
/* Have each child that this process forks close its copy of a listener, also one that C code forks;
 * -1: of none. Returns 0, or -errno if the children cannot be seen to. */
int grd_close_in_children(int fd);
/* cffi: end */

#endif
