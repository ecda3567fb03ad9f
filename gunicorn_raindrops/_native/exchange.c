#include "watched.h"

#include <structmember.h>

#include <stddef.h>

#include "exchange.h"
#include "messages.h"
#include "requests.h"

enum { CALLING = 0, ENDED = -1 };       /* and GRD_WRITING: see requests.h */
enum { NONE = -1 };                     /* the hundreds of a response that has no status */

struct exchange {
	PyObject_HEAD
	PyObject *seat;                 /* NULL: this process's slot */
	PyObject *receive, *send;
	uint64_t ticket;
	int phase;
	int hundreds;
	char gone, streamed, trailers;
};

static PyObject *receive_name;

/* Steps that count. A seat's are Python's own: one that fails is nobody's to catch, and what the
 * application has raised meanwhile stays raised. */

static void tell_seat(struct exchange *self, const char *step, PyObject *args)
{
	PyObject *raised[3], *method, *result;

	PyErr_Fetch(&raised[0], &raised[1], &raised[2]);
	method = PyObject_GetAttrString(self->seat, step);
	result = method && args ? PyObject_Call(method, args, NULL) : NULL;
	if (!result)
		PyErr_WriteUnraisable(method);
	Py_XDECREF(result);
	Py_XDECREF(method);
	Py_XDECREF(args);
	PyErr_Restore(raised[0], raised[1], raised[2]);
}

static void respond(struct exchange *self)
{
	if (self->phase != CALLING)
		return;
	self->phase = GRD_WRITING;
	if (self->seat)
		tell_seat(self, "respond", Py_BuildValue("(K)", self->ticket));
	else
		grd_ticket_respond(grd_attached(), self->ticket);
}

static void end(struct exchange *self, int how)
{
	int phase = self->phase;

	if (phase == ENDED)
		return;
	self->phase = ENDED;
	if (self->seat)
		tell_seat(self, "end", Py_BuildValue("(Ki)", self->ticket, phase | how));
	else
		grd_ticket_end(grd_attached(), self->ticket, (uint32_t)(phase | how));
}

static void fail_late(struct exchange *self)
{
	if (self->seat)
		tell_seat(self, "fail", PyTuple_New(0));
	else
		grd_held_fail(grd_attached());
}

static int hundreds_or(struct exchange *self, int otherwise)
{
	return self->hundreds == NONE ? otherwise : self->hundreds;
}

/* The application raised: servers answer 500 if they still can. If it raised since the client is
 * gone, that is no error. Starlette answers 500 itself, then raises; after any other response it
 * was a task behind that. */
static void fail(struct exchange *self)
{
	if (self->gone)
		end(self, hundreds_or(self, 0));
	else if (self->phase != ENDED)
		end(self, hundreds_or(self, 5) | GRD_ERROR);
	else if (self->hundreds == 5)
		fail_late(self);
}

/* How what is awaited ends. */

static void application_ended(struct grd_watched *watched, enum grd_ending how)
{
	struct exchange *self = (struct exchange *)watched->owner;

	if (how == GRD_RETURNED)        /* servers answer 500 if it never gave a status */
		end(self, hundreds_or(self, self->gone ? 0 : 5));
	else if (how == GRD_RAISED && PyErr_ExceptionMatches(PyExc_Exception))
		fail(self);
	else                            /* cancelled, which is the server's wish and no error */
		end(self, hundreds_or(self, 0));
}

/* So servers say that the client is gone. */
static void learn_from(struct exchange *self, enum grd_ending how)
{
	if (how == GRD_RAISED && PyErr_ExceptionMatches(PyExc_OSError))
		self->gone = 1;
}

enum { TRAILERS_TO_COME = 1 << 3 };     /* beside the hundreds in a start's note */

static void start_ended(struct grd_watched *watched, enum grd_ending how)
{
	struct exchange *self = (struct exchange *)watched->owner;

	learn_from(self, how);
	if (how != GRD_RETURNED)
		return;
	self->hundreds = watched->note & (TRAILERS_TO_COME - 1);
	self->trailers = self->streamed = (watched->note & TRAILERS_TO_COME) != 0;
}

enum { LAST_BODY = 1, LAST = 2 };       /* in any other's note */

static void message_ended(struct grd_watched *watched, enum grd_ending how)
{
	struct exchange *self = (struct exchange *)watched->owner;

	learn_from(self, how);
	if (how == GRD_RETURNED && (watched->note == LAST ||
				    (watched->note == LAST_BODY && !self->trailers)))
		end(self, hundreds_or(self, 0));
}

static PyObject *watch(struct exchange *self, PyObject *awaitable, grd_ended *ended, int note)
{
	struct grd_watched *watched;
	PyObject *coroutine = awaitable;

	if (!grd_is_coroutine(awaitable)) {
		coroutine = PyObject_CallMethod((PyObject *)self, "_await", "(O)", awaitable);
		Py_DECREF(awaitable);
		if (!coroutine)
			return NULL;
	}
	watched = grd_watch(coroutine, (PyObject *)self, ended);
	if (watched)
		watched->note = note;
	return (PyObject *)watched;
}

/* What the application sends. */

static PyObject *send_watched(struct exchange *self, PyObject *args, PyObject *kwargs,
			      grd_ended *ended, int note)
{
	PyObject *awaitable = PyObject_Call(self->send, args, kwargs);

	if (awaitable)
		return watch(self, awaitable, ended, note);
	learn_from(self, GRD_RAISED);
	return NULL;
}

static int note_of(PyObject *message, enum grd_kind kind)
{
	switch (kind) {
	case GRD_MESSAGE_START:
		return grd_message_hundreds(message) |
		       (grd_message_has_trailers(message) ? TRAILERS_TO_COME : 0);
	case GRD_MESSAGE_BODY:
	case GRD_MESSAGE_FILE:  /* which say more_body, too, or are whole */
		return grd_message_has_more_body(message) ? 0 : LAST_BODY;
	case GRD_MESSAGE_TRAILERS:
		return grd_message_has_more_trailers(message) ? 0 : LAST;
	default:
		return 0;
	}
}

/* The one argument; NULL if there is another number of them, which is not ours to refuse. */
static PyObject *message_in(PyObject *args, PyObject *kwargs)
{
	Py_ssize_t named = kwargs ? PyDict_Size(kwargs) : 0, all = PyTuple_Size(args) + named;

	if (all != 1)
		return NULL;
	return named ? PyDict_GetItemString(kwargs, "message") : PyTuple_GetItem(args, 0);
}

static PyObject *call(PyObject *object, PyObject *args, PyObject *kwargs)
{
	struct exchange *self = (struct exchange *)object;
	PyObject *message = message_in(args, kwargs);
	enum grd_kind kind;

	if (!self->send) {      /* a destructor's call, after clear() */
		PyErr_SetString(PyExc_RuntimeError, "this request is over");
		return NULL;
	}
	if (!message)
		return PyObject_Call(self->send, args, kwargs);
	kind = grd_message_kind(message);
	if (kind == GRD_MESSAGE_START) {
		respond(self);
		return send_watched(self, args, kwargs, start_ended, note_of(message, kind));
	}
	if (kind == GRD_MESSAGE_BODY && self->hundreds != NONE && !self->streamed &&
	    grd_message_is_whole_and_small(message)) {
		end(self, self->hundreds);
		return PyObject_Call(self->send, args, kwargs);
	}
	self->streamed = 1;
	return send_watched(self, args, kwargs, message_ended, note_of(message, kind));
}

static PyObject *gone(PyObject *object, PyObject *unused)
{
	((struct exchange *)object)->gone = 1;
	Py_RETURN_NONE;
}

/* Calling the application. */

static struct exchange *make(PyObject *type, PyObject *receive, PyObject *send)
{
	struct exchange *self = (struct exchange *)PyType_GenericAlloc((PyTypeObject *)type, 0);

	if (!self)
		return NULL;
	Py_INCREF(receive);
	self->receive = receive;
	Py_INCREF(send);
	self->send = send;
	self->phase = CALLING;
	self->hundreds = NONE;
	return self;
}

static PyObject *called_with(struct exchange *self, PyObject *application, PyObject *scope)
{
	PyObject *receive = PyObject_GetAttr((PyObject *)self, receive_name), *awaitable;

	if (!receive)
		return NULL;
	awaitable = PyObject_CallFunctionObjArgs(application, scope, receive, self, NULL);
	Py_DECREF(receive);
	return awaitable ? watch(self, awaitable, application_ended, 0) : NULL;
}

/* For a request that has begun; takes over the reference to `self`. */
static PyObject *begun(struct exchange *self, uint64_t ticket, PyObject *application,
		       PyObject *scope)
{
	PyObject *watched;

	self->ticket = ticket;
	watched = called_with(self, application, scope);
	if (!watched)
		fail(self);
	Py_DECREF(self);
	return watched;
}

static PyObject *call_in(PyObject *type, PyObject *args)
{
	PyObject *application, *seat, *scope, *receive, *send;
	unsigned long long ticket;
	struct exchange *self;

	if (!PyArg_ParseTuple(args, "OOKOOO:call", &application, &seat, &ticket, &scope, &receive,
			      &send))
		return NULL;
	self = make(type, receive, send);
	if (!self)
		return NULL;
	Py_INCREF(seat);
	self->seat = seat;
	return begun(self, ticket, application, scope);
}

static uint64_t begin(PyObject *scope)
{
	struct grd_line line;
	PyObject *method = grd_scope_method(scope, &line.method, &line.method_size);
	PyObject *path = grd_scope_path(scope, &line.path, &line.path_size);
	uint64_t ticket = grd_ticket_begin(grd_attached(), line);

	Py_XDECREF(method);
	Py_XDECREF(path);
	return ticket ? ticket : grd_ticket_outside();
}

enum { OF_TYPE, OF_APPLICATION, OF_OTHERS }; /* what `counting` was given */

static PyObject *counted(PyObject *given, PyObject *const *args, Py_ssize_t count)
{
	PyObject *scope, *receive, *send;
	struct exchange *self;

	if (count != 3) {
		PyErr_Format(PyExc_TypeError, "an application takes scope, receive and send, not %zd "
			     "arguments", count);
		return NULL;
	}
	scope = args[0], receive = args[1], send = args[2];
	if (!grd_scope_is_http(scope))
		return PyObject_CallFunctionObjArgs(PyTuple_GetItem(given, OF_OTHERS), scope,
						    receive, send, NULL);
	self = make(PyTuple_GetItem(given, OF_TYPE), receive, send);
	if (!self)
		return NULL;
	return begun(self, begin(scope), PyTuple_GetItem(given, OF_APPLICATION), scope);
}

static PyMethodDef counted_method = {
	"counted", (PyCFunction)(void (*)(void))counted, METH_FASTCALL,
	"counted(scope, receive, send, /)\n--\n\nAn ASGI application.",
};

static PyObject *counting(PyObject *type, PyObject *args)
{
	PyObject *application, *others, *given, *callable;

	if (!PyArg_UnpackTuple(args, "counting", 2, 2, &application, &others))
		return NULL;
	given = PyTuple_Pack(3, type, application, others);
	if (!given)
		return NULL;
	callable = PyCFunction_NewEx(&counted_method, given, NULL);
	Py_DECREF(given);
	return callable;
}

/* The type. */

static PyObject *refuse(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyErr_SetString(PyExc_TypeError, "made by its class methods only");
	return NULL;
}

static int traverse(PyObject *object, visitproc visit, void *arg)
{
	struct exchange *self = (struct exchange *)object;

	Py_VISIT(Py_TYPE(object));
	Py_VISIT(self->seat);
	Py_VISIT(self->receive);
	Py_VISIT(self->send);
	return 0;
}

static int clear(PyObject *object)
{
	struct exchange *self = (struct exchange *)object;

	Py_CLEAR(self->receive);
	Py_CLEAR(self->send);
	return 0;
}

static void dealloc(PyObject *object)
{
	struct exchange *self = (struct exchange *)object;
	PyTypeObject *type = Py_TYPE(object);

	PyObject_GC_UnTrack(object);
	clear(object);
	Py_CLEAR(self->seat);   /* in which a request may end after clear() */
	PyObject_GC_Del(object);
	Py_DECREF(type);
}

static PyMethodDef methods[] = {
	{"counting", counting, METH_VARARGS | METH_CLASS, NULL},
	{"call", call_in, METH_VARARGS | METH_CLASS, NULL},
	{"_gone", gone, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
	{"_server_receive", T_OBJECT, offsetof(struct exchange, receive), READONLY, NULL},
	{NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_new, refuse},
	{Py_tp_call, call},
	{Py_tp_methods, methods},
	{Py_tp_members, members},
	{Py_tp_traverse, traverse},
	{Py_tp_clear, clear},
	{Py_tp_dealloc, dealloc},
	{0, NULL},
};

static PyType_Spec spec = {
	.name = "gunicorn_raindrops._native.Exchange",
	.basicsize = sizeof(struct exchange),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
	.slots = slots,
};

int grd_add_exchange(PyObject *module)
{
	int failed = grd_messages_init() || grd_watched_init() ||
		     !(receive_name = PyUnicode_InternFromString("receive"));
	PyObject *type = failed ? NULL : PyType_FromSpec(&spec);

	failed = !type || PyModule_AddObjectRef(module, "Exchange", type);
	Py_XDECREF(type);
	return failed ? -1 : 0;
}
