#include "inet_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>

enum {
	ESTABLISHED = 1, LISTEN = 10,	/* net/tcp_states.h; unix sockets use the same */
	MEMINFO_DROPS = 8,		/* SK_MEMINFO_DROPS of newer linux/sock_diag.h */
	LARGEST_HEAD = 8192,		/* what proxies let through unless told otherwise */
};

struct attribute {
	uint16_t type;
	size_t length;			/* of the data */
	const uint8_t *data;
};

/* --- the table: open addressing, index[] holds row number + 1 --- */

static uint32_t hash(const struct grd_listener *key)
{
	uint32_t h = 2166136261u ^ key->port ^ key->inode;	/* FNV-1a */

	for (uint8_t i = 0; i < key->length; i++)
		h = (h ^ key->name[i]) * 16777619u;
	return h ^ (h >> 15);
}

static int same(const struct grd_listener *a, const struct grd_listener *b)
{
	return a->port == b->port && a->family == b->family && a->length == b->length &&
	       a->inode == b->inode && a->device == b->device &&
	       !memcmp(a->name, b->name, a->length);
}

/* Where the key's row number stands, or the free place for it: index is never full. */
static uint32_t *place(const struct grd_table *table, const struct grd_listener *key)
{
	uint32_t mask = 2 * table->room - 1;
	uint32_t at = hash(key) & mask;

	while (table->index[at] && !same(&table->rows[table->index[at] - 1], key))
		at = (at + 1) & mask;
	return &table->index[at];
}

static struct grd_listener *find(const struct grd_table *table, const struct grd_listener *key)
{
	uint32_t row = *place(table, key);

	return row ? &table->rows[row - 1] : NULL;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a == UINT64_MAX || b == UINT64_MAX ? UINT64_MAX : a + b;
}

static int add(struct grd_table *table, const struct grd_listener *one)
{
	uint32_t *row = place(table, one);
	struct grd_listener *to;

	if (!*row) {
		if (table->count == table->room)
			return -ENOSPC;
		table->rows[table->count] = *one;
		*row = ++table->count;
		return 0;
	}
	to = &table->rows[*row - 1];
	to->queued = sum(to->queued, one->queued);
	to->backlog = sum(to->backlog, one->backlog);
	to->dropped = sum(to->dropped, one->dropped);
	return 0;
}

/* --- one row --- */

static uint32_t u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* 1: *found is the next attribute, and *at has moved past it; 0: there is none; else -errno. */
static int next_attribute(const uint8_t **at, size_t *left, struct attribute *found)
{
	struct rtattr head;
	size_t step;

	if (*left < sizeof(head))
		return 0;
	memcpy(&head, *at, sizeof(head));
	if (head.rta_len < sizeof(head) || head.rta_len > *left)
		return -EBADMSG;
	found->type = head.rta_type & NLA_TYPE_MASK;
	found->length = head.rta_len - sizeof(head);
	found->data = *at + sizeof(head);
	step = RTA_ALIGN((size_t)head.rta_len);
	step = step < *left ? step : *left;
	*at += step;
	*left -= step;
	return 1;
}

static void inet_key(struct grd_listener *key, const struct inet_diag_msg *row)
{
	memset(key, 0, sizeof(*key));
	key->family = row->idiag_family;
	key->port = ntohs(row->id.idiag_sport);
	key->length = key->family == AF_INET ? 4 : 16;
	memcpy(key->name, row->id.idiag_src, key->length);
}

static int inet_listener(struct grd_table *table, struct grd_listener *one,
			 const struct inet_diag_msg *row, const uint8_t *at, size_t left)
{
	struct attribute found;
	int err;

	one->queued = row->idiag_rqueue;
	one->backlog = row->idiag_wqueue;
	one->dropped = UINT64_MAX;	/* kernels before 4.6 do not tell */
	while ((err = next_attribute(&at, &left, &found)) > 0)
		if (found.type == INET_DIAG_SKMEMINFO && found.length >= 4 * (MEMINFO_DROPS + 1))
			one->dropped = u32(found.data + 4 * MEMINFO_DROPS);
	return err ? err : add(table, one);
}

static void accepted(struct grd_listener *owner, uint64_t unread)
{
	owner->active++;
	owner->waiting += unread > 0;
	owner->bodies += unread > LARGEST_HEAD;
}

/* The most exact listener has it: its address, ::ffff:0.0.0.0 for an IPv4 client, the wildcard.
 * Families do not mix: what a dual-stack listener accepts from IPv4 is an AF_INET6 row. */
static void inet_accepted(struct grd_table *table, struct grd_listener *key, uint32_t unread)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct grd_listener *owner = find(table, key);

	if (!owner && key->length == 16 && !memcmp(key->name, mapped, sizeof(mapped))) {
		memset(key->name + 12, 0, 4);
		owner = find(table, key);
	}
	if (!owner) {
		memset(key->name, 0, key->length);
		owner = find(table, key);
	}
	if (owner)
		accepted(owner, unread);
}

static int inet_row(struct grd_table *table, const uint8_t *at, size_t length)
{
	struct inet_diag_msg row;
	struct grd_listener key;

	if (length < sizeof(row))
		return -EBADMSG;
	memcpy(&row, at, sizeof(row));
	inet_key(&key, &row);
	if (row.idiag_state == LISTEN)
		return inet_listener(table, &key, &row, at + sizeof(row), length - sizeof(row));
	/* inode 0: a connection that nobody has accepted yet, it is one of the queued */
	if (row.idiag_state == ESTABLISHED && row.idiag_inode)
		inet_accepted(table, &key, row.idiag_rqueue);
	return 0;
}

/* Paths come with the NUL that ends them, abstract names begin with one. */
static void unix_name(struct grd_listener *key, const struct attribute *found)
{
	size_t length = found->length;

	if (length > sizeof(key->name))		/* a path of 108 bytes, and its NUL */
		length = sizeof(key->name);
	if (length && found->data[0])
		length = strnlen((const char *)found->data, length);
	memcpy(key->name, found->data, length);
	key->length = length;
}

static void unix_attribute(struct grd_listener *one, const struct attribute *found)
{
	if (found->type == UNIX_DIAG_NAME) {
		unix_name(one, found);
	} else if (found->type == UNIX_DIAG_VFS && found->length >= 8) {
		one->inode = u32(found->data);
		one->device = u32(found->data + 4);
	} else if (found->type == UNIX_DIAG_RQLEN && found->length >= 8) {
		/* of a connection: the bytes unread, and those sent that the peer has not read */
		one->queued = u32(found->data);
		one->backlog = u32(found->data + 4);
	}
}

static int unix_row(struct grd_table *table, const uint8_t *at, size_t length)
{
	struct grd_listener one = {.family = AF_UNIX};
	struct grd_listener *owner;
	struct unix_diag_msg row;
	struct attribute found;
	int err;

	if (length < sizeof(row))
		return -EBADMSG;
	memcpy(&row, at, sizeof(row));
	one.queued = one.backlog = one.dropped = UINT64_MAX;
	at += sizeof(row);
	length -= sizeof(row);
	while ((err = next_attribute(&at, &length, &found)) > 0)
		unix_attribute(&one, &found);
	if (err || !one.length)
		return err;
	if (row.udiag_state == LISTEN)
		return add(table, &one);
	/* an accepted socket has its listener's name and file; so the listeners come first */
	if (row.udiag_state == ESTABLISHED && (owner = find(table, &one)))
		accepted(owner, one.queued == UINT64_MAX ? 0 : one.queued);
	return 0;
}

int grd_diag_row(struct grd_table *table, const uint8_t *at, size_t length)
{
	if (!length)
		return -EBADMSG;
	if (*at == AF_UNIX)
		return unix_row(table, at, length);
	if (*at == AF_INET || *at == AF_INET6)
		return inet_row(table, at, length);
	return 0;
}
