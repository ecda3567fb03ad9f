#include "watched.h"

static PyTypeObject *type;
static PyObject *coroutine_type;

int grd_is_coroutine(PyObject *object)
{
	return (PyObject *)Py_TYPE(object) == coroutine_type;
}

struct grd_watched *grd_watch(PyObject *coroutine, PyObject *owner, grd_ended *ended)
{
	struct grd_watched *self = (struct grd_watched *)PyType_GenericAlloc(type, 0);

	if (!self) {
		Py_DECREF(coroutine);
		return NULL;
	}
	self->coroutine = coroutine;
	Py_INCREF(owner);
	self->owner = owner;
	self->ended = ended;
	return self;
}

static PySendResult end(struct grd_watched *self, PySendResult how)
{
	Py_CLEAR(self->coroutine);
	self->ended(self, how == PYGEN_RETURN ? GRD_RETURNED : GRD_RAISED);
	return how;
}

/* Going on. It is held meanwhile, since what runs may close this one. */

static PyObject *held(struct grd_watched *self)
{
	if (!self->coroutine)
		PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
	Py_XINCREF(self->coroutine);
	self->started = 1;
	return self->coroutine;
}

static PySendResult go_on(PyObject *object, PyObject *value, PyObject **result)
{
	struct grd_watched *self = (struct grd_watched *)object;
	PyObject *coroutine = held(self);
	PySendResult how;

	*result = NULL;
	if (!coroutine)
		return PYGEN_ERROR;
	how = PyIter_Send(coroutine, value, result);
	Py_DECREF(coroutine);
	return how == PYGEN_NEXT ? how : end(self, how);
}

static PyObject *yielded(PySendResult how, PyObject *result)
{
	PyObject *stop;

	if (how != PYGEN_RETURN)
		return result;
	stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, result, NULL);
	Py_DECREF(result);
	if (stop)
		PyErr_SetObject(PyExc_StopIteration, stop);
	Py_XDECREF(stop);
	return NULL;
}

static PyObject *send_value(PyObject *object, PyObject *value)
{
	PyObject *result;
	PySendResult how = go_on(object, value, &result);

	return yielded(how, result);
}

static PyObject *next(PyObject *object)
{
	PyObject *result;
	PySendResult how = go_on(object, Py_None, &result);

	if (how != PYGEN_RETURN || result != Py_None)
		return yielded(how, result);
	Py_DECREF(result);      /* NULL without an exception is the end, with None */
	return NULL;
}

static PyObject *throw(PyObject *object, PyObject *args)
{
	struct grd_watched *self = (struct grd_watched *)object;
	PyObject *coroutine = held(self), *method, *result;

	if (!coroutine)
		return NULL;
	method = PyObject_GetAttrString(coroutine, "throw");
	result = method ? PyObject_Call(method, args, NULL) : NULL;
	Py_XDECREF(method);
	Py_DECREF(coroutine);
	if (!result)
		end(self, PyErr_ExceptionMatches(PyExc_StopIteration) ? PYGEN_RETURN : PYGEN_ERROR);
	return result;
}

static PyObject *close_coroutine(PyObject *object, PyObject *unused)
{
	struct grd_watched *self = (struct grd_watched *)object;
	PyObject *coroutine, *closed;

	if (!self->coroutine)
		Py_RETURN_NONE;
	coroutine = held(self);
	closed = PyObject_CallMethod(coroutine, "close", NULL);
	Py_DECREF(coroutine);
	Py_CLEAR(self->coroutine);
	self->ended(self, closed ? GRD_DROPPED : GRD_RAISED);
	return closed;
}

static PyObject *awaited(PyObject *object)
{
	struct grd_watched *self = (struct grd_watched *)object;

	if (self->started && self->coroutine) {
		PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
		return NULL;
	}
	Py_INCREF(object);
	return object;
}

static PyObject *itself(PyObject *object)
{
	Py_INCREF(object);
	return object;
}

/* The type. */

static int traverse(PyObject *object, visitproc visit, void *arg)
{
	struct grd_watched *self = (struct grd_watched *)object;

	Py_VISIT(Py_TYPE(object));
	Py_VISIT(self->coroutine);
	Py_VISIT(self->owner);
	return 0;
}

/* A coroutine that is dropped is closed, in which it may do things. */
static int clear(PyObject *object)
{
	struct grd_watched *self = (struct grd_watched *)object;
	PyObject *raised[3];

	if (self->coroutine) {
		PyErr_Fetch(&raised[0], &raised[1], &raised[2]);
		Py_CLEAR(self->coroutine);
		self->ended(self, GRD_DROPPED);
		PyErr_Restore(raised[0], raised[1], raised[2]);
	}
	Py_CLEAR(self->owner);
	return 0;
}

static void dealloc(PyObject *object)
{
	PyTypeObject *its = Py_TYPE(object);

	PyObject_GC_UnTrack(object);
	clear(object);
	PyObject_GC_Del(object);
	Py_DECREF(its);
}

static PyObject *refuse(PyTypeObject *its, PyObject *args, PyObject *kwargs)
{
	PyErr_SetString(PyExc_TypeError, "not to be made from Python");
	return NULL;
}

static PyMethodDef methods[] = {
	{"send", send_value, METH_O, NULL},
	{"throw", throw, METH_VARARGS, NULL},
	{"close", close_coroutine, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_new, refuse},
	{Py_tp_methods, methods},
	{Py_am_await, awaited},
	{Py_am_send, go_on},
	{Py_tp_iter, itself},
	{Py_tp_iternext, next},
	{Py_tp_traverse, traverse},
	{Py_tp_clear, clear},
	{Py_tp_dealloc, dealloc},
	{0, NULL},
};

static PyType_Spec spec = {
	.name = "gunicorn_raindrops._native.Watched",
	.basicsize = sizeof(struct grd_watched),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = slots,
};

int grd_watched_init(void)
{
	PyObject *types = PyImport_ImportModule("types");

	if (!types)
		return -1;
	coroutine_type = PyObject_GetAttrString(types, "CoroutineType");
	Py_DECREF(types);
	type = coroutine_type ? (PyTypeObject *)PyType_FromSpec(&spec) : NULL;
	return type ? 0 : -1;
}
