#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#endif

/* "pid (comm) state ppid ...": comm may hold anything. */
const char *grd_stat_field(const char *stat, int number)
{
	const char *at = strrchr(stat, ')');

	if (!at || at[1] != ' ')
		return NULL;
	at += 2;
	for (int i = GRD_STAT_STATE; at && i < number; i++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return at;
}

static int64_t parse_start(const char *stat)
{
	enum { STARTTIME = 22 };
	const char *state = grd_stat_field(stat, GRD_STAT_STATE);
	const char *start = grd_stat_field(stat, STARTTIME);

	if (state && (*state == 'Z' || *state == 'X'))
		return -1;
	return start ? strtoll(start, NULL, 10) : 0;
}

ssize_t grd_read_stat(uint32_t pid, char *stat, size_t size)
{
	char path[32];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	got = read(fd, stat, size);
	close(fd);
	return got;
}

/* Without /proc, or where it hides others' processes (hidepid). EPERM means that there is one. */
static int exists(uint32_t pid)
{
	return pid && (!kill((pid_t)pid, 0) || errno != ESRCH);
}

int grd_proc_is_ours(void)
{
	char self[32];
	ssize_t size = readlink("/proc/self", self, sizeof(self) - 1);

	if (size <= 0)
		return 0;
	self[size] = 0;
	return strtol(self, NULL, 10) == (long)getpid();
}

int64_t grd_process_start(uint32_t pid)
{
	char stat[1024];
	ssize_t got;

	if (pid == 0)           /* kill(2) would take it for our own group */
		return -1;
	got = grd_proc_is_ours() ? grd_read_stat(pid, stat, sizeof(stat) - 1) : -1;
	if (got > 0) {
		stat[got] = 0;
		return parse_start(stat);
	}
	return exists(pid) ? 0 : -1;
}

#if defined(__linux__) && defined(SYS_pidfd_open)
/* pidfd_open(2): the descriptor gets readable when the process ends, before anybody waits for it.
 * Returns -1 if this kernel or a sandbox has none, or no descriptor is left. */
static int ask_pidfd(uint32_t pid)
{
	struct pollfd ended = {.events = POLLIN};
	int ready;

	ended.fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (ended.fd < 0)
		return errno == ESRCH ? 0 : -1;
	ready = poll(&ended, 1, 0);
	close(ended.fd);
	return ready == 0;
}
#else
static int ask_pidfd(uint32_t pid)
{
	(void)pid;
	return -1;
}
#endif

int grd_process_runs(uint32_t pid)
{
	int runs = pid ? ask_pidfd(pid) : 0;

	return runs < 0 ? grd_process_start(pid) >= 0 : runs;
}

uint64_t grd_pid_namespace(void)
{
#ifdef __linux__
	struct stat found;

	if (!stat("/proc/self/ns/pid", &found))
		return (uint32_t)found.st_ino;
#endif
	return 0;
}
