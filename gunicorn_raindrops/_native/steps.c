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

static int expect(Py_ssize_t given, Py_ssize_t least, Py_ssize_t most)
{
	if (given >= least && given <= most)
		return 0;
	PyErr_Format(PyExc_TypeError, "takes %zd to %zd arguments, got %zd", least, most, given);
	return -1;
}

/* Conversions. They run before anything is counted, since any Python code may run in them. */

/* Surrogates, which a server may have made of bytes that are no text, have no UTF-8. */
static int replaced(PyObject *object, struct grd_text *text)
{
	char *bytes;

	if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
		return -1;
	PyErr_Clear();
	text->owner = PyUnicode_AsEncodedString(object, "utf-8", "replace");
	if (!text->owner || PyBytes_AsStringAndSize(text->owner, &bytes, &text->size))
		return -1;
	text->at = bytes;
	return 0;
}

/* The UTF-8 of a str in ASCII, as nearly all are, is the str itself. */
static int to_text(PyObject *object, const char *name, struct grd_text *text)
{
	if (!PyUnicode_Check(object)) {
		PyErr_Format(PyExc_TypeError, "%s must be a str, not %R", name, object);
		return -1;
	}
	text->at = PyUnicode_AsUTF8AndSize(object, &text->size);
	return text->at ? 0 : replaced(object, text);
}

int grd_to_line(PyObject *const *args, Py_ssize_t given, struct grd_text texts[2])
{
	static const char *const names[2] = {"method", "path"};

	for (int i = 0; i < 2; i++)
		texts[i] = (struct grd_text){"", 0, NULL};
	for (int i = 0; i < 2 && i < given; i++) {
		if (to_text(args[i], names[i], &texts[i])) {
			grd_release_texts(texts);
			return -1;
		}
	}
	return 0;
}

struct grd_line grd_line_of(const struct grd_text texts[2])
{
	return (struct grd_line){texts[0].at, (size_t)texts[0].size,
				 texts[1].at, (size_t)texts[1].size};
}

void grd_release_texts(struct grd_text texts[2])
{
	Py_XDECREF(texts[0].owner);
	Py_XDECREF(texts[1].owner);
}

int grd_to_ticket(PyObject *number, uint64_t *ticket)
{
	*ticket = PyLong_AsUnsignedLongLong(number);
	if (*ticket == (uint64_t)-1 && PyErr_Occurred()) {
		if (PyErr_ExceptionMatches(PyExc_TypeError))
			return -1;
		PyErr_Clear();
		*ticket = 0;
	}
	if (grd_is_ticket(*ticket))
		return 0;
	PyErr_Format(PyExc_ValueError, "%R is no ticket", number);
	return -1;
}

int grd_to_end(PyObject *const *args, Py_ssize_t given, uint64_t *ticket, unsigned int *how)
{
	int overflow;
	long number;

	if (expect(given, 2, 2) || grd_to_ticket(args[0], ticket))
		return -1;
	number = PyLong_AsLongAndOverflow(args[1], &overflow);
	if (number == -1 && !overflow && PyErr_Occurred())
		return -1;
	if (overflow || number < 0 || number >= GRD_HOWS ||
	    (number & GRD_HUNDREDS) > GRD_RESPONSE_CLASSES) {
		PyErr_Format(PyExc_ValueError, "no request ends as %R", args[1]);
		return -1;
	}
	*how = (unsigned int)number;
	return 0;
}

int grd_to_state(PyObject *number, uint32_t *state)
{
	long given = PyLong_AsLong(number);

	if (given == -1 && PyErr_Occurred())
		return -1;
	if (given < GRD_FREE || given > GRD_FINISHING) {
		PyErr_Format(PyExc_ValueError, "%R is no state", number);
		return -1;
	}
	*state = (uint32_t)given;
	return 0;
}

PyObject *grd_ticket(uint64_t ticket)
{
	return PyLong_FromUnsignedLongLong(ticket);
}

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

	if (expect(given, 0, 3))
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

static PyObject *count_connections(PyObject *module, PyObject *unused)
{
	grd_count_connections();
	Py_RETURN_NONE;
}

/* What waited, and what the attached slot's owner says of itself. */

static int to_ns(PyObject *number, uint64_t *ns)
{
	*ns = PyLong_AsUnsignedLongLong(number);
	return *ns == (uint64_t)-1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *queued_header(PyObject *module, PyObject *number)
{
	uint64_t ns;

	if (to_ns(number, &ns))
		return NULL;
	grd_queued_header(ns);
	Py_RETURN_NONE;
}

static PyObject *turned(PyObject *module, PyObject *late)
{
	uint64_t ns;

	if (to_ns(late, &ns))
		return NULL;
	grd_turned(ns);
	Py_RETURN_NONE;
}

static PyObject *queued_ignored(PyObject *module, PyObject *unused)
{
	grd_queued_ignored();
	Py_RETURN_NONE;
}

static PyObject *set_state(PyObject *module, PyObject *number)
{
	uint32_t state;

	if (grd_to_state(number, &state))
		return NULL;
	grd_state(state);
	Py_RETURN_NONE;
}

static PyObject *set_capacity(PyObject *module, PyObject *number)
{
	unsigned long long capacity = PyLong_AsUnsignedLongLong(number);

	if (capacity == (unsigned long long)-1 && PyErr_Occurred())
		return NULL;
	grd_capacity(capacity);
	Py_RETURN_NONE;
}

static PyObject *show_current(PyObject *module, PyObject *show)
{
	int showing = PyObject_IsTrue(show);

	if (showing < 0)
		return NULL;
	grd_show_current(showing);
	Py_RETURN_NONE;
}

static PyObject *keep_current(PyObject *module, PyObject *unused)
{
	grd_keep_current();
	Py_RETURN_NONE;
}

static PyObject *attach(PyObject *module, PyObject *args)
{
	struct grd_state *state = PyModule_GetState(module);
	char *header, *slot;
	PyObject *keep, *before;

	if (!PyArg_ParseTuple(args, "O&O&O:attach", grd_to_address, &header, grd_to_address, &slot,
			      &keep))
		return NULL;
	Py_INCREF(keep);
	grd_attach((struct grd_header *)header, (struct grd_slot *)slot);
	before = state->attached;
	state->attached = keep;
	Py_XDECREF(before);
	Py_RETURN_NONE;
}

static PyObject *forks(PyObject *module, PyObject *unused)
{
	return PyLong_FromUnsignedLongLong(grd_forks());
}

static PyMethodDef functions[] = {
	{"attach", attach, METH_VARARGS,
	 "attach($module, header, slot, keep, /)\n--\n\n"
	 "Count in this slot from now on; `keep` keeps the memory at the two addresses mapped."},
	{"set_state", set_state, METH_O,
	 "set_state($module, state, /)\n--\n\nSet the state of the attached slot."},
	{"set_capacity", set_capacity, METH_O,
	 "set_capacity($module, capacity, /)\n--\n\n"
	 "Set how many requests the attached slot's owner can run at once."},
	{"show_current", show_current, METH_O,
	 "show_current($module, show, /)\n--\n\n"
	 "Set whether the method and the path of requests in flight are shown."},
	{"keep_current", keep_current, METH_NOARGS,
	 "keep_current($module, /)\n--\n\n"
	 "Keep what is in flight from now on, also when it ends."},
	{"forks", forks, METH_NOARGS,
	 "forks($module, /)\n--\n\n"
	 "Return how many forks are behind this process since the first such question."},
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
	{"count_connections", count_connections, METH_NOARGS,
	 "count_connections($module, /)\n--\n\n"
	 "Tell readers that the attached slot's owner counts the connections that its threads hold."},
	{"turned", turned, METH_O,
	 "turned($module, late, /)\n--\n\n"
	 "Note that the status thread has its turn, so many nanoseconds late."},
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
