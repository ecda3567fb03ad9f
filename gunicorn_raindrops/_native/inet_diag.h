/* Listeners as the kernel's sock_diag shows them, counted without the GIL. */
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

struct grd_reply {			/* what one request's answer is read with */
	struct grd_table *table;
	uint32_t sequence, port;	/* whose messages are ours */
	uint32_t interrupted;		/* the kernel's table changed under its hands */
};

/* 0: more is to come, 1: that was the last message; else -errno. Touches `reply` alone. */
int grd_parse(struct grd_reply *reply, const void *buffer, size_t length);

/* Sends the netlink messages in `requests` one after another, each when the one before it is
 * answered, and adds their rows to `table`. 0; 1: interrupted, take it again with an empty one;
 * -ENOSPC: again with more room; else -errno. */
int grd_dump(int fd, const void *requests, size_t length, uint32_t sequence,
	     struct grd_table *table);
/* cffi: end */

#endif
