/* Looking at requests in flight, from Python: which are slow, and what they are doing. */
#include "flights.h"

#include <string.h>

#include "arguments.h"
#include "clock.h"

enum { ELLIPSIS = 0x2026 };

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Bytes that are no text, as half a character at the end, are left out. */
static PyObject *text_of(const char *bytes, size_t size)
{
	return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)size, "ignore");
}

static PyObject *path_of(const struct grd_entry *entry, size_t method)
{
	PyObject *path = text_of(entry->text + method,
				 least(entry->path, GRD_ENTRY_TEXT - method)), *cut;

	if (!path || !entry->cut)
		return path;
	cut = PyUnicode_FromFormat("%U%c", path, ELLIPSIS);
	Py_DECREF(path);
	return cut;
}

/* (ticket, thread, age in ns, method, path) */
static PyObject *tuple_of(const struct grd_flight *flight)
{
	size_t method = least(flight->entry.method, GRD_ENTRY_METHOD);

	return Py_BuildValue("(KKKNN)", (unsigned long long)flight->ticket,
			     (unsigned long long)flight->thread,
			     (unsigned long long)flight->age,
			     text_of(flight->entry.text, method), path_of(&flight->entry, method));
}

static PyObject *list_of(const struct grd_flight *flights, Py_ssize_t count)
{
	PyObject *list = PyList_New(count);

	for (Py_ssize_t i = 0; list && i < count; i++) {
		PyObject *tuple = tuple_of(&flights[i]);

		if (!tuple || PyList_SetItem(list, i, tuple))
			Py_CLEAR(list);
	}
	return list;
}

PyObject *grd_list_flights(const struct grd_held *held, PyObject *number)
{
	struct grd_flight flights[GRD_ENTRIES];
	uint64_t least_age = PyLong_AsUnsignedLongLong(number);

	if (least_age == (uint64_t)-1 && PyErr_Occurred())
		return NULL;
	return list_of(flights, grd_flights(held, least_age, flights));
}

PyObject *grd_note_where(const struct grd_held *held, PyObject *args)
{
	unsigned long long ticket;
	PyObject *text;
	const char *where;
	Py_ssize_t size;

	if (!PyArg_ParseTuple(args, "KU:say_where", &ticket, &text))
		return NULL;
	where = PyUnicode_AsUTF8AndSize(text, &size);
	if (!where)
		return NULL;
	return PyBool_FromLong(grd_say_where(held, ticket, where, (size_t)size));
}

static PyObject *flights(PyObject *module, PyObject *age)
{
	return grd_list_flights(grd_attached(), age);
}

static PyObject *say_where(PyObject *module, PyObject *args)
{
	return grd_note_where(grd_attached(), args);
}

static PyObject *in_flight(PyObject *module, PyObject *unused)
{
	return PyLong_FromUnsignedLongLong(grd_in_flight(grd_attached()));
}

static PyObject *keep_slow(PyObject *module, PyObject *number)
{
	uint64_t slow;

	if (grd_to_ns(number, &slow))
		return NULL;
	grd_keep_slow(slow);
	Py_RETURN_NONE;
}

static PyObject *fetch_over(PyObject *module, PyObject *unused)
{
	static struct grd_flight flights[GRD_OVER];
	uint64_t count = grd_fetch_over(flights);

	return Py_BuildValue("(KN)", (unsigned long long)count,
			     list_of(flights, (Py_ssize_t)least(count, GRD_OVER)));
}

static PyObject *age_of(PyObject *module, PyObject *number)
{
	uint64_t ticket;

	if (grd_to_ticket(number, &ticket))
		return NULL;
	return PyLong_FromUnsignedLongLong(grd_ticket_age(ticket));
}

static PyMethodDef functions[] = {
	{"flights", flights, METH_O,
	 "flights($module, age, /)\n--\n\n"
	 "Return the requests of the attached slot that have lasted so many ns: of each its ticket, "
	 "the thread that has begun it, its age in ns, its method and its path."},
	{"say_where", say_where, METH_VARARGS,
	 "say_where($module, ticket, where, /)\n--\n\n"
	 "Say what a request is doing; return whether it is in flight still."},
	{"in_flight", in_flight, METH_NOARGS,
	 "in_flight($module, /)\n--\n\nReturn how many requests are in flight in the attached slot."},
	{"keep_slow", keep_slow, METH_O,
	 "keep_slow($module, slow, /)\n--\n\n"
	 "Keep the requests of the attached slot that end after so many ns, for `fetch_over`."},
	{"fetch_over", fetch_over, METH_NOARGS,
	 "fetch_over($module, /)\n--\n\n"
	 "Return how many such requests have ended since the last call, and the last of them."},
	{"age_of", age_of, METH_O,
	 "age_of($module, ticket, /)\n--\n\nReturn how many ns ago a request has begun."},
	{NULL, NULL, 0, NULL},
};

int grd_add_flights(PyObject *module)
{
	return PyModule_AddFunctions(module, functions);
}
