#include "attached.h"

#include "arguments.h"
#include "connections.h"

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

static PyObject *count_connections(PyObject *module, PyObject *unused)
{
	grd_count_connections();
	Py_RETURN_NONE;
}

static PyObject *turned(PyObject *module, PyObject *late)
{
	uint64_t ns;

	if (grd_to_ns(late, &ns))
		return NULL;
	grd_turned(ns);
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
	{"count_connections", count_connections, METH_NOARGS,
	 "count_connections($module, /)\n--\n\n"
	 "Tell readers that the attached slot's owner counts the connections that its threads hold."},
	{"turned", turned, METH_O,
	 "turned($module, late, /)\n--\n\n"
	 "Note that the status thread has its turn, so many nanoseconds late."},
	{"forks", forks, METH_NOARGS,
	 "forks($module, /)\n--\n\n"
	 "Return how many forks are behind this process since the first such question."},
	{NULL, NULL, 0, NULL},
};

int grd_add_attached(PyObject *module)
{
	return PyModule_AddFunctions(module, functions);
}
