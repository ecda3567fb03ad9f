/* Feeds mutated sock_diag replies to the reader in gunicorn_raindrops/_native: netlink.c, inet_diag.c.
 *
 * usage: fuzz_inet_diag SEED ROUNDS REPLY...
 *
 * Each file is one recorded datagram. Half of the rounds go straight to grd_parse, in a buffer of
 * exactly the datagram's size, the others through grd_dump with the system calls replaced
 * (ld --wrap), which then also are interrupted, time out and truncate. What must hold is checked
 * here; what must not happen (reading or writing beyond, overflow) is the sanitizers' to see.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "netlink.h"

enum { MOST_REPLIES = 64, MOST_BYTES = 40000, SEQUENCE = 7, PORT = 4242 };

static struct { unsigned char *bytes; size_t length; } replies[MOST_REPLIES];
static int reply_count;
static unsigned char datagram[MOST_BYTES + 64];
static unsigned long received, rounds_done, outcomes[4];
static uint64_t state;

static uint32_t rnd(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % below;
}

static void require(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "round %lu: %s\n", rounds_done, what);
	abort();
}

/* --- mutations --- */

static size_t pick(void)
{
	int which = rnd(reply_count);

	memcpy(datagram, replies[which].bytes, replies[which].length);
	return replies[which].length;
}

static void put32(size_t length, size_t at, uint32_t value)
{
	if (at + 4 <= length)
		memcpy(datagram + at, &value, 4);
}

static void put16(size_t length, size_t at, uint16_t value)
{
	if (at + 2 <= length)
		memcpy(datagram + at, &value, 2);
}

/* The start of some message: mutated lengths are followed as the reader would. */
static size_t some_message(size_t length)
{
	size_t at = 0, steps = rnd(40);
	uint32_t size;

	while (steps-- && at + 16 <= length) {
		memcpy(&size, datagram + at, 4);
		size = NLMSG_ALIGN(size);
		if (size < 16 || size > length || at + size >= length)
			break;
		at += size;
	}
	return at;
}

static uint32_t odd_number(void)
{
	static const uint32_t odd[] = {0, 1, 3, 4, 7, 8, 15, 16, 17, 19, 20, 71, 72, 87, 88, 108,
				       109, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
				       0xfffffff0, 0xffffffff};

	return rnd(3) ? odd[rnd(sizeof(odd) / sizeof(*odd))] : rnd(70000);
}

static size_t splice(size_t length)
{
	int other = rnd(reply_count);
	size_t at = some_message(length), more = replies[other].length;

	if (at + more > MOST_BYTES)
		more = MOST_BYTES - at;
	memcpy(datagram + at, replies[other].bytes, more);
	return at + more;
}

/* A message whose first attribute reaches to its end, which is farther away than it was. */
static size_t stretch(size_t length)
{
	size_t at = some_message(length), more = 4 * rnd(80), head;
	uint32_t size;

	if (at + 17 > length || length + more > MOST_BYTES)
		return length;
	memcpy(&size, datagram + at, 4);
	head = datagram[at + 16] == AF_UNIX ? 32 : 88;
	if (size < head + 4 || size > length - at)
		return length;
	memmove(datagram + at + size + more, datagram + at + size, length - at - size);
	length += more;
	put32(length, at, size + more);
	put16(length, at + head, size + more - head);
	return length;
}

static size_t mutate(size_t length)
{
	size_t at = some_message(length);

	switch (rnd(12)) {
	case 0:		/* bytes anywhere */
		for (int n = 1 + rnd(8); length && n; n--)
			datagram[rnd(length)] = rnd(256);
		return length;
	case 1:		/* cut */
		return length ? rnd(length) : 0;
	case 2:		/* the message's length */
		put32(length, at, odd_number());
		return length;
	case 3:		/* its type: NOOP, ERROR, DONE, OVERRUN, ours, any */
		put16(length, at + 4, rnd(2) ? rnd(5) : rnd(2) ? 20 : rnd(65536));
		return length;
	case 4:		/* its flags, NLM_F_DUMP_INTR among them */
		put16(length, at + 6, rnd(256));
		return length;
	case 5:		/* whose it is */
		put32(length, at + 8 + 4 * rnd(2), odd_number());
		return length;
	case 6:		/* family and state */
		put16(length, at + 16, rnd(11) | rnd(13) << 8);
		return length;
	case 7:		/* an attribute's head, or what is taken for one */
		put16(length, at + 16 + 4 * rnd(40), odd_number());
		return length;
	case 8:		/* an error */
		put16(length, at + 4, 2 + rnd(2));
		put32(length, at + 16, rnd(2) ? -(uint32_t)rnd(200) : odd_number());
		return length;
	case 9:
		return splice(length);
	case 10:
		return stretch(length);
	default:	/* junk at the end */
		for (int n = rnd(48); n && length < MOST_BYTES; n--)
			datagram[length++] = rnd(256);
		return length;
	}
}

static size_t make_datagram(void)
{
	size_t length = pick();

	for (int n = rnd(5); n; n--)
		length = mutate(length);
	return length;
}

/* --- what must hold --- */

static void check(const struct grd_table *table, int code)
{
	require(code == 0 || code == 1 || (code < 0 && code >= -4095), "no answer and no errno");
	require(table->count <= table->room, "more rows than there is room for");
	for (uint32_t i = 0; i < table->count; i++) {
		require(table->rows[i].length <= sizeof(table->rows[i].name), "a name too long");
		require(table->rows[i].family != 0, "a row of no family");
	}
	outcomes[code < 0 ? 2 : code]++;
}

static struct grd_table *make_table(uint32_t room)
{
	struct grd_table *table = calloc(1, sizeof(*table));

	table->room = room;
	table->rows = calloc(room, sizeof(*table->rows));
	table->index = calloc(2 * room, sizeof(*table->index));
	return table;
}

static void free_table(struct grd_table *table)
{
	free(table->rows);
	free(table->index);
	free(table);
}

static void parse_round(void)
{
	struct grd_table *table = make_table(1u << rnd(6));
	struct grd_reply reply = {.table = table, .sequence = SEQUENCE, .port = PORT};
	size_t length = make_datagram();
	unsigned char *exact = malloc(length ? length : 1);
	int code;

	memcpy(exact, datagram, length);
	code = grd_parse(&reply, exact, length);
	check(table, code);
	free(exact);
	free_table(table);
}

/* --- the system calls of grd_dump --- */

int __wrap_getsockname(int fd, struct sockaddr *to, socklen_t *size)
{
	struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_pid = PORT};

	memcpy(to, &own, sizeof(own));
	*size = sizeof(own);
	return 0;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	errno = rnd(2) ? EINTR : ENOBUFS;
	return rnd(50) ? (ssize_t)(message->msg_iov[0].iov_len + message->msg_iov[1].iov_len) : -1;
}

ssize_t __wrap_recvfrom(int fd, void *to, size_t size, int flags, struct sockaddr *from,
			socklen_t *from_size)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK, .nl_pid = rnd(40) ? 0 : 99};
	size_t length = make_datagram();

	received++;
	if (!rnd(20)) {
		errno = rnd(3) ? EAGAIN : rnd(2) ? EINTR : ENOBUFS;
		return -1;
	}
	memcpy(to, datagram, length < size ? length : size);
	memcpy(from, &kernel, sizeof(kernel));
	*from_size = rnd(60) ? sizeof(kernel) : 0;
	return rnd(100) ? length : size + rnd(100000);
}

ssize_t __wrap_recv(int fd, void *to, size_t size, int flags)
{
	errno = rnd(2) ? EAGAIN : EINTR;
	return rnd(4) ? 1 : -1;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	require(timeout > 0, "waits for ever");
	return rnd(3) - 1;
}

/* Time flies: what waits for its deadline has it in a moment. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	static uint64_t ms;

	ms += rnd(30);
	now->tv_sec = ms / 1000;
	now->tv_nsec = ms % 1000 * 1000000;
	return 0;
}

static void dump_round(void)
{
	struct grd_table *table = make_table(1u << rnd(6));
	unsigned char requests[200];
	size_t length = rnd(4) ? 144 : rnd(sizeof(requests));

	memset(requests, 0, sizeof(requests));
	for (size_t at = 0; at < 144; at += 72)
		memcpy(requests + at, &(uint32_t){72}, 4);
	if (!rnd(10))
		memcpy(requests + 72, &(uint32_t){odd_number()}, 4);
	check(table, grd_dump(0, requests, length, SEQUENCE - rnd(2), table));
	free_table(table);
}

static void load(const char *path)
{
	FILE *file = fopen(path, "rb");
	unsigned char *bytes = malloc(MOST_BYTES);

	require(file && bytes && reply_count < MOST_REPLIES, path);
	replies[reply_count].bytes = bytes;
	replies[reply_count++].length = fread(bytes, 1, MOST_BYTES / 2, file);
	fclose(file);
}

int main(int argc, char **argv)
{
	unsigned long rounds;

	require(argc > 3, "usage: SEED ROUNDS REPLY...");
	state = strtoull(argv[1], NULL, 10) * 2 + 1;
	rounds = strtoul(argv[2], NULL, 10);
	for (int i = 3; i < argc; i++)
		load(argv[i]);
	alarm(300);	/* an endless loop ends in SIGALRM */
	for (; rounds_done < rounds; rounds_done++)
		rnd(2) ? parse_round() : dump_round();
	printf("rounds %lu datagrams %lu more %lu done %lu error %lu\n", rounds_done, received,
	       outcomes[0], outcomes[1], outcomes[2]);
	for (int i = 0; i < reply_count; i++)
		free(replies[i].bytes);
	return 0;
}
