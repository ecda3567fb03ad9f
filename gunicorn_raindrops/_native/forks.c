#define _GNU_SOURCE
#include "forks.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener = -1;

/* The number stays taken, by a socket without an address: the child's copies of our objects would
 * close whatever else had it by then. A number is free for it, the one that is closed. All calls
 * are safe in the child of a process with threads (signal-safety(7)). */
static void in_child(void)
{
	int empty;

	if (listener < 0)
		return;
	close(listener);
	empty = socket(AF_UNIX, SOCK_STREAM, 0);
	if (empty >= 0 && empty != listener) {
		dup2(empty, listener);
		close(empty);
	}
	if (empty >= 0)
		fcntl(listener, F_SETFD, FD_CLOEXEC);
	listener = -1;
}

/* Not os.register_at_fork: a server or an extension written in C forks without Python's
 * knowledge. */
int grd_close_in_children(int fd)
{
	static int watching;

	if (!watching) {
		int error = pthread_atfork(NULL, NULL, in_child);

		if (error)
			return -error;
		watching = 1;
	}
	listener = fd;
	return 0;
}
