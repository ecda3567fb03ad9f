/* What the units of the extension module `_objects` share.
 *
 * Everything that takes Python objects is in this one module; all else is plain C behind cffi. Its
 * types work on memory that Python code has mapped: an address, and a reference to the object that
 * keeps the memory mapped. They convert their arguments, which may run any Python code, before they
 * look at the address, and do not give up the GIL from there on. So a close() or a growth in
 * between, by that code or by another thread, is seen. */
#ifndef GRD_OBJECTS_H
#define GRD_OBJECTS_H

#define Py_LIMITED_API 0x030a0000       /* METH_FASTCALL is in it from 3.10 on */
#include <Python.h>

#include <stdint.h>

/* The head of every type here that shows memory. */
struct grd_view {
	PyObject_HEAD
	PyObject *keep;         /* keeps the memory mapped */
	char *base;             /* NULL: closed */
};

struct grd_state {              /* of the module */
	PyTypeObject *counters;
	PyObject *attached;     /* keeps the attached slot's memory mapped */
};

/* The view moves to other memory. */
void grd_view_show(struct grd_view *view, char *base, PyObject *keep);
PyObject *grd_view_close(PyObject *self, PyObject *unused);     /* a method without arguments */
int grd_view_traverse(PyObject *self, visitproc visit, void *arg);
int grd_view_clear(PyObject *self);
void grd_view_dealloc(PyObject *self);

/* Convert an int; 0 with an exception set where it is no address. */
int grd_to_address(PyObject *number, void *address);    /* an "O&" converter: (char **) */

/* For method tables: a function of any calling convention. */
#define GRD_CALL(function) ((PyCFunction)(void (*)(void))(function))

extern PyType_Spec grd_counters_spec, grd_counter_spec, grd_recorder_spec, grd_standin_spec;

#endif
