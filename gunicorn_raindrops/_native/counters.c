#define Py_LIMITED_API 0x030a0000       /* METH_FASTCALL is in it from 3.10 on */
#include <Python.h>

#include "counters.h"

#include <sys/mman.h>
#include <unistd.h>

#include "atomic.h"

enum { SMALLEST_LINE = 64, LARGEST_LINE = 1024 };

/* What a builtin is bound to; `index` is for those of one counter. */
struct bound {
	struct grd_counters *counters;
	PyObject *keep;
	size_t index;
};

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

/* An index that is none becomes one that no size admits; `at` complains of it. */
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

/* No name: comparing it would be a fifth of the call, and nobody else gets at the capsules. */
static struct bound *bound_of(PyObject *self)
{
	return PyCapsule_GetPointer(self, NULL);
}

/* Where counter `index` is. From here on nothing may run Python code. */
static uint64_t *at(const struct grd_counters *counters, size_t index)
{
	if (!counters->base) {
		PyErr_SetString(PyExc_ValueError, "these counters are closed");
		return NULL;
	}
	if (index >= counters->size) {
		PyErr_Format(PyExc_IndexError, "index must be from 0 to %zu", counters->size - 1);
		return NULL;
	}
	return (uint64_t *)(counters->base + index * counters->stride);
}

static int expect(Py_ssize_t given, Py_ssize_t wanted)
{
	if (given == wanted)
		return 0;
	PyErr_Format(PyExc_TypeError, "expected %zd arguments, got %zd", wanted, given);
	return -1;
}

static PyObject *change(PyObject *self, PyObject *const *args, Py_ssize_t given, int down)
{
	size_t index;
	uint64_t n, *counter;

	if (expect(given, 2) || to_index(args[0], &index) || to_value(args[1], "n", &n))
		return NULL;
	counter = at(bound_of(self)->counters, index);
	if (!counter)
		return NULL;
	return PyLong_FromUnsignedLongLong(grd_add_relaxed(counter, down ? 0 - n : n));
}

static PyObject *add(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	return change(self, args, given, 0);
}

static PyObject *subtract(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	return change(self, args, given, 1);
}

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	size_t index;
	uint64_t *counter;

	if (expect(given, 1) || to_index(args[0], &index))
		return NULL;
	counter = at(bound_of(self)->counters, index);
	return counter ? PyLong_FromUnsignedLongLong(grd_load_relaxed(counter)) : NULL;
}

static PyObject *set(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
	size_t index;
	uint64_t value, *counter;

	if (expect(given, 2) || to_index(args[0], &index) || to_value(args[1], "value", &value))
		return NULL;
	counter = at(bound_of(self)->counters, index);
	if (!counter)
		return NULL;
	grd_store_relaxed(counter, value);
	Py_RETURN_NONE;
}

/* The one argument n, by position or by name, is optional. */
static int amount(PyObject *const *args, Py_ssize_t given, PyObject *names, uint64_t *n)
{
	Py_ssize_t named = names ? PyTuple_Size(names) : 0;

	*n = 1;
	if (given + named == 0)
		return 0;
	if (given + named > 1 ||
	    (named && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "n"))) {
		PyErr_SetString(PyExc_TypeError, "the only argument is n");
		return -1;
	}
	return to_value(args[0], "n", n);
}

static PyObject *change_one(PyObject *self, PyObject *const *args, Py_ssize_t given,
			    PyObject *names, int down)
{
	struct bound *bound = bound_of(self);
	uint64_t n, *counter;

	if (amount(args, given, names, &n))
		return NULL;
	counter = at(bound->counters, bound->index);
	if (!counter)
		return NULL;
	return PyLong_FromUnsignedLongLong(grd_add_relaxed(counter, down ? 0 - n : n));
}

static PyObject *incr(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
	return change_one(self, args, given, names, 0);
}

static PyObject *decr(PyObject *self, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
	return change_one(self, args, given, names, 1);
}

#define CALL(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef indexed[] = {
	{"add", CALL(add), METH_FASTCALL, NULL},
	{"subtract", CALL(subtract), METH_FASTCALL, NULL},
	{"get", CALL(get), METH_FASTCALL, NULL},
	{"set", CALL(set), METH_FASTCALL, NULL},
	{0},
};

static PyMethodDef of_one[] = {
	{"incr", CALL(incr), METH_FASTCALL | METH_KEYWORDS,
	 "incr(n=1)\n--\n\nAdd n atomically and return the new value, modulo 2**64."},
	{"decr", CALL(decr), METH_FASTCALL | METH_KEYWORDS,
	 "decr(n=1)\n--\n\nSubtract n atomically and return the new value, modulo 2**64."},
	{0},
};

static void let_go(PyObject *capsule)
{
	struct bound *bound = bound_of(capsule);

	Py_DECREF(bound->keep);
	PyMem_Free(bound);
}

static PyObject *make_bound(uintptr_t keep, struct grd_counters *counters, size_t index)
{
	struct bound *bound = PyMem_Malloc(sizeof(*bound));
	PyObject *capsule;

	if (!bound)
		return NULL;
	*bound = (struct bound){counters, (PyObject *)keep, index};
	capsule = PyCapsule_New(bound, NULL, let_go);
	if (!capsule) {
		PyMem_Free(bound);
		return NULL;
	}
	Py_INCREF(bound->keep);
	return capsule;
}

static int append_all(PyObject *list, PyMethodDef *methods, PyObject *self)
{
	int failed = !self;

	for (; !failed && methods->ml_name; methods++) {
		PyObject *call = PyCFunction_NewEx(methods, self, NULL);

		failed = !call || PyList_Append(list, call);
		Py_XDECREF(call);
	}
	Py_XDECREF(self);
	/* cffi would not look for it; the caller raises MemoryError */
	if (failed)
		PyErr_Clear();
	return failed ? -1 : 0;
}

int grd_bind(uintptr_t list, uintptr_t keep, struct grd_counters *counters)
{
	return append_all((PyObject *)list, indexed, make_bound(keep, counters, 0));
}

int grd_bind_one(uintptr_t list, uintptr_t keep, struct grd_counters *counters, size_t i)
{
	return append_all((PyObject *)list, of_one, make_bound(keep, counters, i));
}

void *grd_map(int fd, size_t length)
{
	void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return address == MAP_FAILED ? NULL : address;
}

void grd_unmap(void *address, size_t length)
{
	munmap(address, length);
}

size_t grd_line_size(void)
{
	long size = -1;
#ifdef _SC_LEVEL1_DCACHE_LINESIZE
	size = sysconf(_SC_LEVEL1_DCACHE_LINESIZE);
#endif
	/* sysconf says 0 where it does not know (some virtual machines, musl, arm64) */
	if (size < SMALLEST_LINE || size > LARGEST_LINE || (size & (size - 1)))
		return SMALLEST_LINE;
	return (size_t)size;
}
