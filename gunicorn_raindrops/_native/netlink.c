#include "netlink.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/netlink.h>
#include <linux/sock_diag.h>

enum {
	RECEIVE_SIZE = 32768,		/* the most that the kernel puts in one datagram */
	DEADLINE_MS = 5000,		/* a dump is answered while we ask: this is never met */
	LARGEST_ERRNO = 4095,
};

/* --- the messages of a reply --- */

/* The errno that an ERROR or DONE message carries: 0 or negative. */
static int status(const uint8_t *at, size_t length)
{
	int err;

	if (length < sizeof(err))
		return -EBADMSG;
	memcpy(&err, at, sizeof(err));
	return err > 0 || err < -LARGEST_ERRNO ? -EPROTO : err;
}

static int message(struct grd_reply *reply, const struct nlmsghdr *head, const uint8_t *at)
{
	size_t length = head->nlmsg_len - NLMSG_HDRLEN;
	int err;

	if (head->nlmsg_seq != reply->sequence || head->nlmsg_pid != reply->port)
		return 0;
	if (head->nlmsg_flags & NLM_F_DUMP_INTR)
		reply->interrupted = 1;
	switch (head->nlmsg_type) {
	case NLMSG_DONE:	/* a protocol that this kernel lacks: DONE with -ENOENT */
		err = status(at, length);
		return err ? err : 1;
	case NLMSG_ERROR:	/* 0 would be an acknowledgement, which we never ask for */
		err = status(at, length);
		return err ? err : -EPROTO;
	case NLMSG_OVERRUN:
		return -ENOBUFS;
	case SOCK_DIAG_BY_FAMILY:
		return grd_diag_row(reply->table, at, length);
	}
	return 0;
}

int grd_parse(struct grd_reply *reply, const void *buffer, size_t length)
{
	const uint8_t *at = buffer;
	struct nlmsghdr head;
	size_t step;
	int err;

	while (length) {
		if (length < sizeof(head))
			return -EBADMSG;
		memcpy(&head, at, sizeof(head));
		if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > length)
			return -EBADMSG;
		err = message(reply, &head, at + NLMSG_HDRLEN);
		if (err)
			return err;
		step = NLMSG_ALIGN((size_t)head.nlmsg_len);
		step = step < length ? step : length;
		at += step;
		length -= step;
	}
	return 0;
}

/* --- the socket --- */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int wait_for(int fd, int64_t deadline)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	int64_t left = deadline - now_ms();

	if (left <= 0 || !poll(&poller, 1, left))
		return -ETIMEDOUT;
	return 0;	/* also after EINTR: receiving says more */
}

/* The kernel makes a dump's next datagram as it hands out one, so it hardly ever has to be
 * waited for. Whoever else may send to this socket is not listened to. */
static ssize_t receive(int fd, void *buffer, size_t size, int64_t deadline)
{
	struct sockaddr_nl from;
	socklen_t from_size;
	ssize_t got;

	for (;;) {
		from_size = sizeof(from);
		got = recvfrom(fd, buffer, size, MSG_DONTWAIT | MSG_TRUNC,
			       (struct sockaddr *)&from, &from_size);
		if (got > (ssize_t)size)
			return -EMSGSIZE;
		if (got > 0 && from_size == sizeof(from) && !from.nl_pid)
			return got;
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		got = wait_for(fd, deadline);
		if (got)
			return got;
	}
}

static int read_reply(int fd, struct grd_reply *reply)
{
	uint8_t buffer[RECEIVE_SIZE] __attribute__((aligned(8)));
	int64_t deadline = now_ms() + DEADLINE_MS;
	ssize_t got;
	int err;

	do {
		got = receive(fd, buffer, sizeof(buffer), deadline);
		if (got < 0)
			return got;
		err = grd_parse(reply, buffer, got);
	} while (!err && now_ms() < deadline);
	if (!err)
		return -ETIMEDOUT;
	return err < 0 ? err : 0;
}

/* A dump that was given up goes on at each receive, and refuses the next one with EBUSY. */
static void drain(int fd)
{
	int64_t deadline = now_ms() + DEADLINE_MS;
	uint8_t byte;

	while ((recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0 || errno == EINTR) &&
	       now_ms() < deadline)
		;
}

static int send_request(int fd, const struct nlmsghdr *head, const uint8_t *rest)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct iovec parts[] = {
		{.iov_base = (void *)head, .iov_len = sizeof(*head)},
		{.iov_base = (void *)rest, .iov_len = head->nlmsg_len - sizeof(*head)},
	};
	struct msghdr message = {
		.msg_name = &kernel, .msg_namelen = sizeof(kernel),
		.msg_iov = parts, .msg_iovlen = 2,
	};
	ssize_t sent;

	do
		sent = sendmsg(fd, &message, 0);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* The kernel names an unbound socket (its netlink port) at the first send. */
static int own_port(int fd, uint32_t *port)
{
	struct sockaddr_nl own;
	socklen_t size = sizeof(own);

	if (getsockname(fd, (struct sockaddr *)&own, &size))
		return -errno;
	if (size != sizeof(own) || own.nl_family != AF_NETLINK)
		return -EPROTOTYPE;
	*port = own.nl_pid;
	return 0;
}

static int ask(int fd, const struct nlmsghdr *head, const uint8_t *rest, struct grd_reply *reply)
{
	int err = own_port(fd, &reply->port);	/* first of all: is it a netlink socket? */

	if (!err)
		err = send_request(fd, head, rest);
	if (!err)
		err = own_port(fd, &reply->port);
	if (err)
		return err;
	err = read_reply(fd, reply);
	if (err)
		drain(fd);
	return err;
}

int grd_dump(int fd, const void *requests, size_t length, uint32_t sequence,
	     struct grd_table *table)
{
	struct grd_reply reply = {.table = table, .sequence = sequence};
	const uint8_t *at = requests;
	struct nlmsghdr head;
	int err;

	if (!table->room || table->room & (table->room - 1) || table->count > table->room)
		return -EINVAL;
	for (; length; reply.sequence++) {
		if (length < sizeof(head))
			return -EINVAL;
		memcpy(&head, at, sizeof(head));
		if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > length ||
		    head.nlmsg_len % NLMSG_ALIGNTO)
			return -EINVAL;
		head.nlmsg_seq = reply.sequence;
		err = ask(fd, &head, at + sizeof(head), &reply);
		if (err)
			return err;
		at += head.nlmsg_len;
		length -= head.nlmsg_len;
	}
	return reply.interrupted ? 1 : 0;
}
