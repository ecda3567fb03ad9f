/* The functions of the request path. They are builtins of few arguments, and the most frequent of
 * none: nothing else of Python's is as cheap to call. */
#include "steps.h"

#include <limits.h>
#include <stddef.h>

#ifdef __linux__
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#endif

#include "connections.h"

enum { MILLISECOND = 1000000 };

/* How long the connection has had its last data. tcp(7): tcpi_last_data_recv is how many
 * milliseconds ago the last data came. The kernel counts them in its own ticks, of 1 to 10 ms. */
static void record_queue(long fd)
{
#ifdef __linux__
	enum { NEEDED = offsetof(struct tcp_info, tcpi_last_data_recv) + 4 };
	struct tcp_info info;
	socklen_t size = NEEDED;

	if (fd < 0 || fd > INT_MAX || getsockopt((int)fd, IPPROTO_TCP, TCP_INFO, &info, &size) ||
	    size < NEEDED)
		return;         /* a unix socket, say */
	grd_queued_socket((uint64_t)info.tcpi_last_data_recv * MILLISECOND);
#endif
}

/* Convert (method="", path="", fd=-1), and record how long the request has waited. */
static int to_begin(PyObject *const *args, Py_ssize_t given, struct grd_text texts[2])
{
	long fd = -1;

	if (grd_expect(given, 0, 3))
		return -1;
	if (given == 3) {
		fd = PyLong_AsLong(args[2]);
		if (fd == -1 && PyErr_Occurred())
			return -1;
	}
	if (grd_to_line(args, given, texts))
		return -1;
	record_queue(fd);
	return 0;
}

/* This thread's request. */

static PyObject *begin(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
	struct grd_text texts[2];

	if (to_begin(args, given, texts))
		return NULL;
	grd_begin(grd_line_of(texts));
	grd_release_texts(texts);
	Py_RETURN_NONE;
}

static PyObject *respond(PyObject *module, PyObject *unused)
{
	grd_respond();
	Py_RETURN_NONE;
}

static PyObject *fail(PyObject *module, PyObject *unused)
{
	grd_fail();
	Py_RETURN_NONE;
}

static PyObject *cancel(PyObject *module, PyObject *unused)
{
	grd_cancel();
	Py_RETURN_NONE;
}

#define END(name, hundreds)                                             \
	static PyObject *name(PyObject *module, PyObject *unused)       \
	{                                                               \
		grd_end(hundreds);                                      \
		Py_RETURN_NONE;                                         \
	}

END(end_1xx, 1)
END(end_2xx, 2)
END(end_3xx, 3)
END(end_4xx, 4)
END(end_5xx, 5)
END(end_other, 0)

/* Requests with tickets, in the attached slot. */

static PyObject *begin_ticket(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
	struct grd_text texts[2];
	uint64_t ticket;

	if (to_begin(args, given, texts))
		return NULL;
	ticket = grd_ticket_begin(grd_attached(), grd_line_of(texts));
	grd_release_texts(texts);
	return grd_ticket(ticket ? ticket : grd_ticket_outside());
}

static PyObject *respond_ticket(PyObject *module, PyObject *number)
{
	uint64_t ticket;

	if (grd_to_ticket(number, &ticket))
		return NULL;
	grd_ticket_respond(grd_attached(), ticket);
	Py_RETURN_NONE;
}

static PyObject *end_ticket(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
	uint64_t ticket;
	unsigned int how;

	if (grd_to_end(args, given, &ticket, &how))
		return NULL;
	grd_ticket_end(grd_attached(), ticket, how);
	Py_RETURN_NONE;
}

static PyObject *fail_ended(PyObject *module, PyObject *unused)
{
	grd_held_fail(grd_attached());
	Py_RETURN_NONE;
}

static PyObject *open_websocket(PyObject *module, PyObject *unused)
{
	return PyBool_FromLong(grd_held_open(grd_attached()));
}

static PyObject *close_websocket(PyObject *module, PyObject *unused)
{
	grd_held_close(grd_attached());
	Py_RETURN_NONE;
}

/* The connection that a thread of a worker holds. */

static PyObject *tuple_of(PyObject *const *objects, Py_ssize_t count)
{
	PyObject *tuple = PyTuple_New(count);

	for (Py_ssize_t i = 0; tuple && i < count; i++) {
		Py_INCREF(objects[i]);
		PyTuple_SetItem(tuple, i, objects[i]);
	}
	return tuple;
}

static PyObject *hold_connection(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
	PyObject *rest, *result;
	int counts;

	if (given < 1) {
		PyErr_SetString(PyExc_TypeError, "takes what handles the connection");
		return NULL;
	}
	rest = tuple_of(args + 1, given - 1);
	if (!rest)
		return NULL;
	counts = grd_take_connection();
	result = PyObject_Call(args[0], rest, NULL);
	if (counts)
		grd_leave_connection();
	Py_DECREF(rest);
	return result;
}

static PyObject *leave_connection(PyObject *module, PyObject *unused)
{
	grd_leave_connection();
	Py_RETURN_NONE;
}

/* How long requests waited before they came. */

static PyObject *queued_header(PyObject *module, PyObject *number)
{
	uint64_t ns;

	if (grd_to_ns(number, &ns))
		return NULL;
	grd_queued_header(ns);
	Py_RETURN_NONE;
}

static PyObject *queued_ignored(PyObject *module, PyObject *unused)
{
	grd_queued_ignored();
	Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
	{"begin", GRD_CALL(begin), METH_FASTCALL,
	 "begin($module, method='', path='', fd=-1, /)\n--\n\n"
	 "Begin a request of this thread; record how long the TCP connection `fd` has had its data."},
	{"respond", respond, METH_NOARGS,
	 "respond($module, /)\n--\n\nMove this thread's request from calling to writing."},
	{"fail", fail, METH_NOARGS,
	 "fail($module, /)\n--\n\nCount an error for this thread's request, which then ends."},
	{"cancel", cancel, METH_NOARGS,
	 "cancel($module, /)\n--\n\nTake this thread's request back."},
	{"end_1xx", end_1xx, METH_NOARGS, "end_1xx($module, /)\n--\n\nEnd this thread's request."},
	{"end_2xx", end_2xx, METH_NOARGS, "end_2xx($module, /)\n--\n\nEnd this thread's request."},
	{"end_3xx", end_3xx, METH_NOARGS, "end_3xx($module, /)\n--\n\nEnd this thread's request."},
	{"end_4xx", end_4xx, METH_NOARGS, "end_4xx($module, /)\n--\n\nEnd this thread's request."},
	{"end_5xx", end_5xx, METH_NOARGS, "end_5xx($module, /)\n--\n\nEnd this thread's request."},
	{"end_other", end_other, METH_NOARGS,
	 "end_other($module, /)\n--\n\nEnd this thread's request, of no known status."},
	{"begin_ticket", GRD_CALL(begin_ticket), METH_FASTCALL,
	 "begin_ticket($module, method='', path='', fd=-1, /)\n--\n\n"
	 "Begin a request as `begin` does; return its ticket, which is never 0."},
	{"respond_ticket", respond_ticket, METH_O,
	 "respond_ticket($module, ticket, /)\n--\n\nMove a request from calling to writing."},
	{"end_ticket", GRD_CALL(end_ticket), METH_FASTCALL,
	 "end_ticket($module, ticket, how, /)\n--\n\n"
	 "End a request; `how` is its status's class, 0 to 5, with WRITING, ERROR and CANCELLED."},
	{"fail_ended", fail_ended, METH_NOARGS,
	 "fail_ended($module, /)\n--\n\nCount an error for a request that has ended."},
	{"open_websocket", open_websocket, METH_NOARGS,
	 "open_websocket($module, /)\n--\n\nCount an open websocket; return whether it counts."},
	{"close_websocket", close_websocket, METH_NOARGS,
	 "close_websocket($module, /)\n--\n\nCount one no longer."},
	{"hold_connection", GRD_CALL(hold_connection), METH_FASTCALL,
	 "hold_connection($module, handle, /, *args)\n--\n\n"
	 "Call `handle`, in whose hands this thread's connection is until it returns."},
	{"leave_connection", leave_connection, METH_NOARGS,
	 "leave_connection($module, /)\n--\n\n"
	 "Count the connection that this thread holds no longer."},
	{"queued_header", queued_header, METH_O,
	 "queued_header($module, ns, /)\n--\n\n"
	 "Record how long a request has waited, as a proxy says."},
	{"queued_ignored", queued_ignored, METH_NOARGS,
	 "queued_ignored($module, /)\n--\n\nCount a header that says no time that can be."},
	{NULL, NULL, 0, NULL},
};

int grd_add_steps(PyObject *module)
{
	return PyModule_AddFunctions(module, functions) ||
	       PyModule_AddIntConstant(module, "WRITING", GRD_WRITING) ||
	       PyModule_AddIntConstant(module, "ERROR", GRD_ERROR) ||
	       PyModule_AddIntConstant(module, "CANCELLED", GRD_CANCELLED) ? -1 : 0;
}
