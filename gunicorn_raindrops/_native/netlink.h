/* Requests of sock_diag and their replies, over a netlink socket and without the GIL. */
#ifndef GRD_NETLINK_H
#define GRD_NETLINK_H

#include <stddef.h>
#include <stdint.h>

#include "inet_diag.h"

/* cffi: begin */
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
