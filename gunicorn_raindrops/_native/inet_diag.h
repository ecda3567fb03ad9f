/* Listeners as the kernel's sock_diag shows them: each row of its answers is a socket, which is
 * counted for its listener. */
#ifndef GRD_INET_DIAG_H
#define GRD_INET_DIAG_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
/* One listening address; what all its sockets have (SO_REUSEPORT) added up. */
struct grd_listener {
	uint64_t active;		/* accepted connections in state ESTABLISHED */
	uint64_t queued;		/* connections in the accept queue */
	uint64_t backlog;		/* what that queue holds at most */
	uint64_t dropped;		/* UINT64_MAX is unknown, as in the two above */
	uint32_t inode, device;		/* unix: the socket's file, 0 for abstract names */
	uint16_t port;			/* TCP, in the machine's order */
	uint8_t family;			/* 0: this row is not in use */
	uint8_t length;			/* bytes of name that count */
	uint8_t name[108];		/* the address (4 or 16 bytes), or sun_path */
	uint64_t waiting;		/* those of active that have unread bytes */
	uint64_t bodies;		/* those of waiting that have more than the head of a request */
};

struct grd_table {
	struct grd_listener *rows;
	uint32_t *index;		/* twice as many as rows, 0 in the beginning */
	uint32_t room;			/* rows that fit, a power of two */
	uint32_t count;			/* rows in use */
};
/* cffi: end */

/* Add what one row of an answer tells: a listener, or a connection to the listener that it belongs
 * to. 0, or -errno: -ENOSPC if there are more listeners than the table has room for. */
int grd_diag_row(struct grd_table *table, const uint8_t *at, size_t length);

#endif
