/* Counters in shared memory: what Raindrops and Struct are made of.
 *
 * `Counters` is the base type of Raindrops, so that `rd.incr(i)` is a call of C with no Python
 * frame in between. `Counter` is one of them, to which a Struct's builtins are bound. */
#include "objects.h"

#include <structmember.h>

#include <stddef.h>

#include "atomic.h"

struct counters {
	struct grd_view view;
	Py_ssize_t size;        /* how many there are */
	Py_ssize_t stride;      /* bytes from one to the next */
};

struct counter {
	struct grd_view view;   /* keeps the counters; its base stays NULL */
	size_t index;
};

/* Arguments. */

/* An integer argument as PyLong; what it is called goes into the error. */
static PyObject *integer(PyObject *value, const char *name)
{
	PyObject *number;

	if (PyLong_CheckExact(value)) {
		Py_INCREF(value);
		return value;
	}
	number = PyNumber_Index(value);
	if (!number && PyErr_ExceptionMatches(PyExc_TypeError) && !PyIndex_Check(value))
		PyErr_Format(PyExc_TypeError, "%s must be an integer, not %R", name, value);
	return number;
}

static int to_value(PyObject *argument, const char *name, uint64_t *value)
{
	PyObject *number = integer(argument, name);

	if (!number)
		return -1;
	*value = PyLong_AsUnsignedLongLong(number);
	if (*value == (uint64_t)-1 && PyErr_Occurred()) {
		PyErr_Format(PyExc_OverflowError, "%s must be from 0 to 2**64-1, not %R",
			     name, number);
		Py_DECREF(number);
		return -1;
	}
	Py_DECREF(number);
	return 0;
}

/* A number that is no index becomes one that no size admits; `at` raises IndexError for it. */
static int to_index(PyObject *argument, size_t *index)
{
	PyObject *number = integer(argument, "index");

	if (!number)
		return -1;
	*index = PyLong_AsSize_t(number);
	Py_DECREF(number);
	if (*index == (size_t)-1 && PyErr_Occurred())
		PyErr_Clear();
	return 0;
}

static int is_named(PyObject *given, const char *name)
{
	return !PyUnicode_CompareWithASCIIString(given, name);
}

/* Sort arguments that were given by name behind those by position, as a Python function with
 * these parameters would; those that are not given stay NULL. */
static int sort(const char *const *parameters, Py_ssize_t count, PyObject *const *args,
		Py_ssize_t given, PyObject *names, PyObject **sorted)
{
	Py_ssize_t named = names ? PyTuple_Size(names) : 0;

	if (given + named > count) {
		PyErr_Format(PyExc_TypeError, "takes at most %zd arguments, got %zd", count,
			     given + named);
		return -1;
	}
	for (Py_ssize_t i = 0; i < given; i++)
		sorted[i] = args[i];
	for (Py_ssize_t i = 0; i < named; i++) {
		PyObject *name = PyTuple_GetItem(names, i);
		Py_ssize_t at = 0;

		while (at < count && !is_named(name, parameters[at]))
			at++;
		if (at == count || sorted[at]) {
			PyErr_Format(PyExc_TypeError, at == count ?
				     "got an unexpected argument %R" :
				     "got two values for argument %R", name);
			return -1;
		}
		sorted[at] = args[given + i];
	}
	return 0;
}

/* Convert (i, n=1). */
static int to_step(PyObject *const *args, Py_ssize_t given, PyObject *names, size_t *index,
		   uint64_t *n)
{
	static const char *const parameters[] = {"i", "n"};
	PyObject *sorted[2] = {NULL, NULL};

	if (!names && given == 1) {     /* the usual call */
		*n = 1;
		return to_index(args[0], index);
	}
	if (sort(parameters, 2, args, given, names, sorted))
		return -1;
	if (!sorted[0]) {
		PyErr_SetString(PyExc_TypeError, "missing argument 'i'");
		return -1;
	}
	*n = 1;
	if (to_index(sorted[0], index))
		return -1;
	return sorted[1] ? to_value(sorted[1], "n", n) : 0;
}

/* Convert (n=1). */
static int to_amount(PyObject *const *args, Py_ssize_t given, PyObject *names, uint64_t *n)
{
	static const char *const parameters[] = {"n"};
	PyObject *sorted[1] = {NULL};

	*n = 1;
	if (!names && !given)
		return 0;
	if (sort(parameters, 1, args, given, names, sorted))
		return -1;
	return to_value(sorted[0], "n", n);
}

/* Counters. */

/* Where counter `index` is. From here on nothing may run Python code. */
static uint64_t *at(PyObject *self, size_t index)
{
	struct counters *counters = (struct counters *)self;

	if (!counters->view.base) {
		PyErr_SetString(PyExc_ValueError, "these counters are closed");
		return NULL;
	}
	if (index >= (size_t)counters->size) {
		PyErr_Format(PyExc_IndexError, "index must be from 0 to %zd", counters->size - 1);
		return NULL;
	}
	return (uint64_t *)(counters->view.base + index * (size_t)counters->stride);
}

static PyObject *change(PyObject *self, size_t index, uint64_t n)
{
	uint64_t *counter = at(self, index);

	return counter ? PyLong_FromUnsignedLongLong(grd_add_relaxed(counter, n)) : NULL;
}

static PyObject *incr(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
	size_t index;
	uint64_t n;

	return to_step(args, given, names, &index, &n) ? NULL : change(self, index, n);
}

static PyObject *decr(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
	size_t index;
	uint64_t n;

	return to_step(args, given, names, &index, &n) ? NULL : change(self, index, 0 - n);
}

static PyObject *value_at(PyObject *self, size_t index)
{
	uint64_t *counter = at(self, index);

	return counter ? PyLong_FromUnsignedLongLong(grd_load_relaxed(counter)) : NULL;
}

static PyObject *get(PyObject *self, PyObject *i)
{
	size_t index;

	return to_index(i, &index) ? NULL : value_at(self, index);
}

static PyObject *get_in_sequence(PyObject *self, Py_ssize_t i)  /* reversed() asks so */
{
	return value_at(self, (size_t)i);
}

static int set(PyObject *self, PyObject *i, PyObject *given)
{
	size_t index;
	uint64_t value, *counter;

	if (!given) {
		PyErr_SetString(PyExc_TypeError, "a counter cannot be deleted");
		return -1;
	}
	if (to_index(i, &index) || to_value(given, "value", &value))
		return -1;
	counter = at(self, index);
	if (!counter)
		return -1;
	grd_store_relaxed(counter, value);
	return 0;
}

static PyObject *show(PyObject *self, PyObject *args)
{
	struct counters *counters = (struct counters *)self;
	char *base;
	Py_ssize_t size, stride;
	PyObject *keep;

	if (!PyArg_ParseTuple(args, "O&nnO:_show", grd_to_address, &base, &size, &stride, &keep))
		return NULL;
	if (size < 1 || stride < (Py_ssize_t)sizeof(uint64_t)) {
		PyErr_SetString(PyExc_ValueError, "there is no room for counters");
		return NULL;
	}
	counters->size = size;
	counters->stride = stride;
	grd_view_show(&counters->view, base, keep);
	Py_RETURN_NONE;
}

static PyObject *resize(PyObject *self, PyObject *number)
{
	Py_ssize_t size = PyNumber_AsSsize_t(number, PyExc_OverflowError);

	if (size == -1 && PyErr_Occurred())
		return NULL;
	if (size < 1) {
		PyErr_SetString(PyExc_ValueError, "size must be at least 1");
		return NULL;
	}
	((struct counters *)self)->size = size;
	Py_RETURN_NONE;
}

static PyMethodDef counters_methods[] = {
	{"incr", GRD_CALL(incr), METH_FASTCALL | METH_KEYWORDS,
	 "incr($self, /, i, n=1)\n--\n\n"
	 "Add `n` to counter `i` atomically and return its new value, modulo 2**64.\n\n"
	 "Raises:\n"
	 "    IndexError: `i` is outside 0..size-1; negative indices are not counted from the end.\n"
	 "    TypeError: `i` or `n` is not an integer.\n"
	 "    OverflowError: `n` is outside 0..2**64-1.\n"
	 "    ValueError: the counters are closed."},
	{"decr", GRD_CALL(decr), METH_FASTCALL | METH_KEYWORDS,
	 "decr($self, /, i, n=1)\n--\n\n"
	 "Subtract `n` from counter `i` atomically; otherwise as `incr`."},
	{"_show", show, METH_VARARGS,
	 "_show($self, address, size, stride, keep, /)\n--\n\n"
	 "Put the counters into memory that `keep` keeps mapped."},
	{"_resize", resize, METH_O,
	 "_resize($self, size, /)\n--\n\nHave so many; the caller knows that there is memory for them."},
	{"_close", grd_view_close, METH_NOARGS,
	 "_close($self, /)\n--\n\nHave every call raise ValueError from now on."},
	{NULL, NULL, 0, NULL},
};

static PyMemberDef counters_members[] = {
	{"_size", T_PYSSIZET, offsetof(struct counters, size), READONLY, "How many there are."},
	{"_mapping", T_OBJECT, offsetof(struct grd_view, keep), READONLY,
	 "What keeps the memory mapped; None: closed."},
	{NULL, 0, 0, 0, NULL},
};

static PyType_Slot counters_slots[] = {
	{Py_tp_doc, "64-bit counters in shared memory, at equal distances."},
	{Py_tp_new, PyType_GenericNew},
	{Py_tp_methods, counters_methods},
	{Py_tp_members, counters_members},
	{Py_mp_subscript, get},
	{Py_mp_ass_subscript, set},
	{Py_sq_item, get_in_sequence},
	{Py_tp_traverse, grd_view_traverse},
	{Py_tp_clear, grd_view_clear},
	{Py_tp_dealloc, grd_view_dealloc},
	{0, NULL},
};

PyType_Spec grd_counters_spec = {
	.name = "gunicorn_raindrops._native._objects.Counters",
	.basicsize = sizeof(struct counters),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
	.slots = counters_slots,
};

/* One counter. */

static PyObject *new_counter(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	struct grd_state *state = PyType_GetModuleState(type);
	PyObject *counters, *i;
	struct counter *self;
	size_t index;

	if (!state || !PyArg_ParseTuple(args, "O!O:Counter", state->counters, &counters, &i) ||
	    to_index(i, &index))
		return NULL;
	self = (struct counter *)PyType_GenericNew(type, args, kwargs);
	if (!self)
		return NULL;
	self->index = index;
	grd_view_show(&self->view, NULL, counters);
	return (PyObject *)self;
}

static PyObject *change_one(PyObject *self, uint64_t n)
{
	struct counter *counter = (struct counter *)self;

	/* NULL: the collector has cleared it */
	if (counter->view.keep)
		return change(counter->view.keep, counter->index, n);
	PyErr_SetString(PyExc_ValueError, "these counters are closed");
	return NULL;
}

static PyObject *incr_one(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
	uint64_t n;

	return to_amount(args, given, names, &n) ? NULL : change_one(self, n);
}

static PyObject *decr_one(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
	uint64_t n;

	return to_amount(args, given, names, &n) ? NULL : change_one(self, 0 - n);
}

static PyMethodDef counter_methods[] = {
	{"incr", GRD_CALL(incr_one), METH_FASTCALL | METH_KEYWORDS,
	 "incr($self, /, n=1)\n--\n\nAdd n atomically and return the new value, modulo 2**64."},
	{"decr", GRD_CALL(decr_one), METH_FASTCALL | METH_KEYWORDS,
	 "decr($self, /, n=1)\n--\n\nSubtract n atomically and return the new value, modulo 2**64."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot counter_slots[] = {
	{Py_tp_doc, "Counter(counters, i, /)\n--\n\nOne of some counters, which it keeps."},
	{Py_tp_new, new_counter},
	{Py_tp_methods, counter_methods},
	{Py_tp_traverse, grd_view_traverse},
	{Py_tp_clear, grd_view_clear},
	{Py_tp_dealloc, grd_view_dealloc},
	{0, NULL},
};

PyType_Spec grd_counter_spec = {
	.name = "gunicorn_raindrops._native._objects.Counter",
	.basicsize = sizeof(struct counter),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = counter_slots,
};
