/* The builtins of a request that take text. Builtins, since cffi would make bytes of each str
 * first. */
#define Py_LIMITED_API 0x030a0000
#include <Python.h>

#include <limits.h>
#include <stddef.h>

#ifdef __linux__
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#endif

#include "clock.h"
#include "instant.h"
#include "requests.h"

enum { MILLISECOND = 1000000 };

#define HOUR (3600 * 1000000000ll)

/* The UTF-8 of a str, which it keeps: of one in ASCII, as nearly all are, it is the str itself.
 * Anything else is empty: a request never fails here. */
static const char *text_of(PyObject *object, Py_ssize_t *size)
{
	const char *text = PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, size) : NULL;

	if (text)
		return text;
	PyErr_Clear();
	*size = 0;
	return "";
}

static int number_of(PyObject *object)
{
	long fd = PyLong_AsLong(object);

	if (fd == -1)
		PyErr_Clear();
	return fd >= 0 && fd <= INT_MAX ? (int)fd : -1;
}

/* tcp(7): tcpi_last_data_recv is how many milliseconds ago the last data came. The kernel counts
 * them in its own ticks, of 1 to 10 ms. */
static void record_queue(int fd)
{
#ifdef __linux__
	struct tcp_info info;
	socklen_t size = sizeof(info);

	if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) ||
	    size < offsetof(struct tcp_info, tcpi_last_data_recv) + 4)
		return;         /* a unix socket, say */
	grd_queued_socket((uint64_t)info.tcpi_last_data_recv * MILLISECOND);
#endif
}

static struct grd_line line_of(PyObject *const *args, Py_ssize_t given)
{
	Py_ssize_t method_size = 0, path_size = 0;
	const char *method = given > 0 ? text_of(args[0], &method_size) : "";
	const char *path = given > 1 ? text_of(args[1], &path_size) : "";

	return (struct grd_line){method, (size_t)method_size, path, (size_t)path_size};
}

static PyObject *begin(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	if (given > 2)
		record_queue(number_of(args[2]));
	grd_begin_named(line_of(args, given));
	Py_RETURN_NONE;
}

static PyObject *begin_here(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	if (given > 2)
		record_queue(number_of(args[2]));
	return PyLong_FromUnsignedLongLong(grd_here_begin(line_of(args, given)));
}

static PyObject *respond_here(PyObject *self, PyObject *ticket)
{
	grd_here_respond(PyLong_AsUnsignedLongLong(ticket));
	Py_RETURN_NONE;
}

static PyObject *end_here(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	if (given == 2)
		grd_here_end(PyLong_AsUnsignedLongLong(args[0]), (uint32_t)PyLong_AsLong(args[1]));
	Py_RETURN_NONE;
}

/* What says no time, or one to come, or more than an hour ago, which no request waits, is ignored. */
static PyObject *queued_since(PyObject *self, PyObject *value)
{
	Py_ssize_t size;
	const char *text = text_of(value, &size);
	int64_t instant = grd_instant(text, (size_t)size), waited = grd_unix_now() - instant;

	if (instant >= 0 && waited >= 0 && waited <= HOUR)
		grd_queued_header((uint64_t)waited);
	else
		grd_queued_ignored();
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{"begin", (PyCFunction)(void (*)(void))begin, METH_FASTCALL,
	 "begin(method='', path='', fd=-1, /)\n--\n\nBegin a request of this thread."},
	{"begin_here", (PyCFunction)(void (*)(void))begin_here, METH_FASTCALL,
	 "begin_here(method='', path='', fd=-1, /)\n--\n\nBegin a request; return its ticket."},
	{"respond_here", respond_here, METH_O,
	 "respond_here(ticket, /)\n--\n\nIts request goes from calling to writing."},
	{"end_here", (PyCFunction)(void (*)(void))end_here, METH_FASTCALL,
	 "end_here(ticket, how, /)\n--\n\nIts request ends; how, is said in requests.h."},
	{"queued_since", queued_since, METH_O,
	 "queued_since(instant, /)\n--\n\nA proxy says when it got a request."},
};

static int append(PyObject *list, PyMethodDef *method)
{
	PyObject *call = PyCFunction_NewEx(method, NULL, NULL);
	int failed = !call || PyList_Append(list, call);

	Py_XDECREF(call);
	return failed;
}

int grd_bind_begin(uintptr_t list)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		if (!append((PyObject *)list, &methods[i]))
			continue;
		/* cffi would not look for it; the caller raises MemoryError */
		PyErr_Clear();
		return -1;
	}
	return 0;
}
