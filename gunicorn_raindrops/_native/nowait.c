#define _GNU_SOURCE
#include "nowait.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0          /* macOS: CPython ignores SIGPIPE anyway */
#endif

int grd_accept(int fd)
{
#ifdef __linux__
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
	int client = accept(fd, NULL, NULL);

	if (client >= 0)
		fcntl(client, F_SETFD, FD_CLOEXEC);
#endif
	return client < 0 ? -errno : client;
}

int grd_receive(int fd, char *buffer, size_t length)
{
	ssize_t got = recv(fd, buffer, length, MSG_DONTWAIT);

	return got < 0 ? -errno : (int)got;
}

int grd_send(int fd, const char *data, size_t length)
{
	ssize_t sent = send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);

	return sent < 0 ? -errno : (int)sent;
}

int grd_shutdown(int fd)
{
	return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}
