#define _GNU_SOURCE
#include "forks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* An arbiter has three, a process with a Middleware one for each that keeps a file. */
#define MOST 32

/* A descriptor, and what it was of: the number may be another's by now, if somebody has closed it
 * without a word to us. */
struct kept {
	int fd;
	int is_shared; /* with a child that the sharing is for */
	dev_t device;
	ino_t inode;
};

static struct kept table[MOST];
static int used;
static int sharing;

static int is_as_it_was(const struct kept *one)
{
	struct stat now;

	return !fstat(one->fd, &now) && now.st_dev == one->device && now.st_ino == one->inode;
}

/* The number stays taken, by a socket without an address: the child's copies of our objects would
 * close whatever else had it by then. A number is free for it, the one that is closed. */
static void empty(int fd)
{
	int other;

	close(fd);
	other = socket(AF_UNIX, SOCK_STREAM, 0);
	if (other >= 0 && other != fd) {
		dup2(other, fd);
		close(other);
	}
	if (other >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* All calls are safe in the child of a process with threads (signal-safety(7)). */
static void in_child(void)
{
	int left = 0;

	for (int i = 0; i < used; i++) {
		if (sharing && table[i].is_shared)
			table[left++] = table[i];
		else if (is_as_it_was(&table[i]))
			empty(table[i].fd);
	}
	used = left;
	sharing = 0;
}

/* Not os.register_at_fork: a server or an extension written in C forks without Python's
 * knowledge. */
static int watch(void)
{
	static int watching;
	int error = watching ? 0 : pthread_atfork(NULL, NULL, in_child);

	watching = !error;
	return -error;
}

static void forget(int fd)
{
	int left = 0;

	for (int i = 0; i < used; i++)
		if (table[i].fd != fd && is_as_it_was(&table[i]))
			table[left++] = table[i];
	used = left;
}

static int add(int fd, int is_shared)
{
	struct stat now;
	int error = watch();

	forget(fd);
	if (error)
		return error;
	if (used == MOST)
		return -ENOSPC;
	if (fstat(fd, &now))
		return -errno;
	table[used++] = (struct kept){fd, is_shared, now.st_dev, now.st_ino};
	return 0;
}

int grd_close_in_children(int fd)
{
	return add(fd, 1);
}

int grd_close_in_every_child(int fd)
{
	return add(fd, 0);
}

void grd_keep_in_children(int fd)
{
	forget(fd);
}

void grd_share_with_child(int shares)
{
	sharing = shares;
}
