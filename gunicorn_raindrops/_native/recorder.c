/* Recording durations: the base type of Histogram. */
#include "objects.h"

#include <structmember.h>

#include <stddef.h>

#include "histogram.h"

#define LIMIT (1ull << GRD_HISTOGRAM_LIMIT_BITS)

static int complain_of(PyObject *argument)
{
	if (PyErr_ExceptionMatches(PyExc_TypeError))
		PyErr_Format(PyExc_TypeError, "seconds must be a number, not %R", argument);
	else if (PyErr_ExceptionMatches(PyExc_OverflowError))
		PyErr_SetString(PyExc_OverflowError, "seconds must be under 104 days");
	return -1;
}

static int to_ns(PyObject *argument, uint64_t *ns)
{
	double seconds = PyFloat_AsDouble(argument);

	if (seconds == -1.0 && PyErr_Occurred())
		return complain_of(argument);
	if (!(seconds >= 0)) {  /* NaN is not */
		PyErr_Format(PyExc_ValueError, "seconds must be 0 or more, not %R", argument);
		return -1;
	}
	if (seconds * 1e9 >= (double)LIMIT) {
		PyErr_SetString(PyExc_OverflowError, "seconds must be under 104 days");
		return -1;
	}
	*ns = (uint64_t)(seconds * 1e9 + 0.5);
	return 0;
}

static PyObject *record(PyObject *self, PyObject *argument)
{
	struct grd_view *view = (struct grd_view *)self;
	uint64_t ns;

	if (to_ns(argument, &ns))
		return NULL;
	if (!view->base) {
		PyErr_SetString(PyExc_ValueError, "this histogram is closed");
		return NULL;
	}
	grd_histogram_record((struct grd_histogram *)view->base, ns);
	Py_RETURN_NONE;
}

static PyObject *show(PyObject *self, PyObject *args)
{
	char *base;
	PyObject *keep;

	if (!PyArg_ParseTuple(args, "O&O:_show", grd_to_address, &base, &keep))
		return NULL;
	grd_view_show((struct grd_view *)self, base, keep);
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{"record", record, METH_O,
	 "record($self, seconds, /)\n--\n\n"
	 "Record a duration in seconds, rounded to a nanosecond.\n\n"
	 "Raises:\n"
	 "    TypeError: it is not a number.\n"
	 "    ValueError: it is negative or NaN, or the histogram is closed.\n"
	 "    OverflowError: it is 104 days (2**53 ns) or more."},
	{"_show", show, METH_VARARGS,
	 "_show($self, address, keep, /)\n--\n\n"
	 "Record into a `struct grd_histogram` that `keep` keeps mapped."},
	{"_close", grd_view_close, METH_NOARGS,
	 "_close($self, /)\n--\n\nHave record() raise ValueError from now on."},
	{NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
	{"_mapping", T_OBJECT, offsetof(struct grd_view, keep), READONLY,
	 "What keeps the memory mapped; None: closed."},
	{NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_doc, "Records durations in shared memory."},
	{Py_tp_new, PyType_GenericNew},
	{Py_tp_methods, methods},
	{Py_tp_members, members},
	{Py_tp_traverse, grd_view_traverse},
	{Py_tp_clear, grd_view_clear},
	{Py_tp_dealloc, grd_view_dealloc},
	{0, NULL},
};

PyType_Spec grd_recorder_spec = {
	.name = "gunicorn_raindrops._native._objects.Recorder",
	.basicsize = sizeof(struct grd_view),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
	.slots = slots,
};
