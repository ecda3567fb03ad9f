#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* proc_pid_stat(5): "pid (comm) state ppid ...", comm may hold anything, starttime is field 22. */
static int64_t parse_start(const char *stat)
{
	enum { FROM_STATE_TO_START = 22 - 3 };
	const char *at = strrchr(stat, ')');

	if (!at || at[1] != ' ')
		return 0;
	at += 2;
	if (*at == 'Z' || *at == 'X')
		return -1;
	for (int i = 0; at && i < FROM_STATE_TO_START; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoll(at, NULL, 10) : 0;
}

static ssize_t read_stat(uint32_t pid, char *stat, size_t size)
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

int64_t grd_process_start(uint32_t pid)
{
	char stat[1024];
	ssize_t got;

	if (pid == 0)           /* kill(2) would take it for our own group */
		return -1;
	got = read_stat(pid, stat, sizeof(stat) - 1);
	if (got > 0) {
		stat[got] = 0;
		return parse_start(stat);
	}
	/* no /proc, or it hides others' processes (hidepid): EPERM means that there is one */
	return kill((pid_t)pid, 0) < 0 && errno == ESRCH ? -1 : 0;
}
