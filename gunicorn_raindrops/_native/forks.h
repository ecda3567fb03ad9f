/* What children must not keep. A child gets a copy of each descriptor of the process that forks it.
 * Nobody serves the copy of a status listener, and it holds the address after the server's end; that
 * of a lock holds the lock. */
#ifndef GRD_FORKS_H
#define GRD_FORKS_H

/* cffi: begin */
/* Have each child that this process forks close its copy of a descriptor, also one that C code
 * forks. Returns 0, or -errno if the children cannot be seen to. */
int grd_close_in_children(int fd);
/* No longer. To be called before the descriptor is closed. */
void grd_keep_in_children(int fd);
/* Whether the next child keeps the copies, all but those of locks. It will close them in children of
 * its own. */
void grd_share_with_child(int shares);
/* The same as grd_close_in_children, of a descriptor that no child keeps. */
int grd_close_in_every_child(int fd);
/* cffi: end */

#endif
