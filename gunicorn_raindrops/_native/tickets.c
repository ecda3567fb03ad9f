/* A held slot as a Python object: the base type of a process's slot where no arbiter gives one. */
#include "flights.h"
#include "steps.h"

struct tickets {
	struct grd_view view;           /* keeps the scoreboard's memory; its base is the header */
	struct grd_held held;
};

static struct grd_held *held_by(PyObject *self)
{
	return &((struct tickets *)self)->held;
}

static PyObject *new_tickets(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *self = PyType_GenericNew(type, args, kwargs);

	if (self)
		grd_hold_nothing(held_by(self));
	return self;
}

static int clear(PyObject *self)
{
	grd_hold_nothing(held_by(self));
	return grd_view_clear(self);
}

static PyObject *hold(PyObject *self, PyObject *args)
{
	char *header, *slot;
	PyObject *keep;

	if (!PyArg_ParseTuple(args, "O&O&O:_hold", grd_to_address, &header, grd_to_address, &slot,
			      &keep))
		return NULL;
	grd_hold(held_by(self), (struct grd_header *)header, (struct grd_slot *)slot);
	grd_view_show((struct grd_view *)self, header, keep);
	Py_RETURN_NONE;
}

static PyObject *set_state(PyObject *self, PyObject *number)
{
	uint32_t state;

	if (grd_to_state(number, &state))
		return NULL;
	grd_held_state(held_by(self), state);
	Py_RETURN_NONE;
}

static PyObject *begin(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	struct grd_text texts[2];
	uint64_t ticket;

	if (given > 2) {
		PyErr_Format(PyExc_TypeError, "takes at most 2 arguments, got %zd", given);
		return NULL;
	}
	if (grd_to_line(args, given, texts))
		return NULL;
	ticket = grd_ticket_begin(held_by(self), grd_line_of(texts));
	grd_release_texts(texts);
	return grd_ticket(ticket);
}

static PyObject *respond(PyObject *self, PyObject *number)
{
	uint64_t ticket;

	if (grd_to_ticket(number, &ticket))
		return NULL;
	grd_ticket_respond(held_by(self), ticket);
	Py_RETURN_NONE;
}

static PyObject *end(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	uint64_t ticket;
	unsigned int how;

	if (grd_to_end(args, given, &ticket, &how))
		return NULL;
	grd_ticket_end(held_by(self), ticket, how);
	Py_RETURN_NONE;
}

static PyObject *fail(PyObject *self, PyObject *unused)
{
	grd_held_fail(held_by(self));
	Py_RETURN_NONE;
}

static PyObject *open_websocket(PyObject *self, PyObject *unused)
{
	return PyBool_FromLong(grd_held_open(held_by(self)));
}

static PyObject *close_websocket(PyObject *self, PyObject *unused)
{
	grd_held_close(held_by(self));
	Py_RETURN_NONE;
}

static PyObject *flights(PyObject *self, PyObject *age)
{
	return grd_list_flights(held_by(self), age);
}

static PyObject *say_where(PyObject *self, PyObject *args)
{
	return grd_note_where(held_by(self), args);
}

static PyMethodDef methods[] = {
	{"_hold", hold, METH_VARARGS,
	 "_hold($self, header, slot, keep, /)\n--\n\n"
	 "Hold this slot for this process; `keep` keeps the memory at the two addresses mapped."},
	{"set_state", set_state, METH_O, "set_state($self, state, /)\n--\n\nSet the slot's state."},
	{"begin", GRD_CALL(begin), METH_FASTCALL,
	 "begin($self, method='', path='', /)\n--\n\n"
	 "Begin a request; return its ticket, or 0 in a process that does not hold the slot."},
	{"respond", respond, METH_O,
	 "respond($self, ticket, /)\n--\n\nMove a request from calling to writing."},
	{"end", GRD_CALL(end), METH_FASTCALL,
	 "end($self, ticket, how, /)\n--\n\n"
	 "End a request; `how` is its status's class, 0 to 5, with WRITING, ERROR and CANCELLED."},
	{"fail", fail, METH_NOARGS,
	 "fail($self, /)\n--\n\nCount an error for a request that has ended."},
	{"open", open_websocket, METH_NOARGS,
	 "open($self, /)\n--\n\nCount an open websocket; return whether it counts."},
	{"close", close_websocket, METH_NOARGS, "close($self, /)\n--\n\nCount one no longer."},
	{"flights", flights, METH_O,
	 "flights($self, age, /)\n--\n\nReturn slow requests, as the module's function does."},
	{"say_where", say_where, METH_VARARGS,
	 "say_where($self, ticket, where, /)\n--\n\nSay what a request is doing, as the module's does."},
	{NULL, NULL, 0, NULL},
};

/* grd_view_dealloc clears the view alone, but then nobody has the slot any more. */
static PyType_Slot slots[] = {
	{Py_tp_doc, "A held slot, whose requests have tickets."},
	{Py_tp_new, new_tickets},
	{Py_tp_methods, methods},
	{Py_tp_traverse, grd_view_traverse},
	{Py_tp_clear, clear},
	{Py_tp_dealloc, grd_view_dealloc},
	{0, NULL},
};

PyType_Spec grd_tickets_spec = {
	.name = "gunicorn_raindrops._native._objects.Tickets",
	.basicsize = sizeof(struct tickets),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
	.slots = slots,
};
