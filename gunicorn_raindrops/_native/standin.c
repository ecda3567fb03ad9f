/* StandIn: takes the place of an application, so that each call of it can be counted.
 *
 * Code that looks at it sees the application: attributes, comparison, items and isinstance (which
 * asks for __class__) go there. Only type() tells the two apart. It is native because a request
 * calls it: a class in Python would cost another frame. */
#include "objects.h"

#include <stddef.h>
#include <structmember.h>

struct standin {
	PyObject_HEAD
	PyObject *application;
	PyObject *call;         /* called instead; NULL: the application is called */
	PyObject *after;        /* called when the application has returned; NULL: nothing is */
	PyObject *weak;
};

static PyObject *new_reference(PyObject *object)
{
	if (object == Py_None)
		return NULL;
	Py_INCREF(object);
	return object;
}

/* Return the application, as a borrowed reference; NULL with an exception set once the garbage
 * collector has taken it. */
static PyObject *application_of(PyObject *self)
{
	PyObject *application = ((struct standin *)self)->application;

	if (!application)
		PyErr_SetString(PyExc_ReferenceError, "the application is gone");
	return application;
}

static PyObject *standin_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	static char *names[] = {"", "call", "after", NULL};
	PyObject *application, *call = Py_None, *after = Py_None;
	struct standin *made;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OO:StandIn", names, &application, &call,
					 &after))
		return NULL;
	made = (struct standin *)allocate(type, 0);
	if (!made)
		return NULL;
	Py_INCREF(application);
	made->application = application;
	made->call = new_reference(call);
	made->after = new_reference(after);
	return (PyObject *)made;
}

static PyObject *standin_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
	PyObject *call = ((struct standin *)self)->call, *after, *result, *unused;

	if (call)
		return PyObject_Call(call, args, kwargs);
	if (!(call = application_of(self)))
		return NULL;
	result = PyObject_Call(call, args, kwargs);
	after = ((struct standin *)self)->after;
	if (result && after) {
		unused = PyObject_CallNoArgs(after);
		if (!unused)
			Py_CLEAR(result);
		Py_XDECREF(unused);
	}
	return result;
}

static PyObject *standin_getattro(PyObject *self, PyObject *name)
{
	PyObject *application = application_of(self);

	return application ? PyObject_GetAttr(application, name) : NULL;
}

static int standin_setattro(PyObject *self, PyObject *name, PyObject *value)
{
	PyObject *application = application_of(self);

	return application ? PyObject_SetAttr(application, name, value) : -1;
}

static PyObject *standin_repr(PyObject *self)
{
	PyObject *application = application_of(self);

	return application ? PyObject_Repr(application) : NULL;
}

static PyObject *standin_str(PyObject *self)
{
	PyObject *application = application_of(self);

	return application ? PyObject_Str(application) : NULL;
}

static Py_hash_t standin_hash(PyObject *self)
{
	PyObject *application = application_of(self);

	return application ? PyObject_Hash(application) : -1;
}

static PyObject *standin_richcompare(PyObject *self, PyObject *other, int op)
{
	PyObject *application = application_of(self);

	if (application && Py_TYPE(other) == Py_TYPE(self))
		other = application_of(other);
	return application && other ? PyObject_RichCompare(application, other, op) : NULL;
}

static int standin_bool(PyObject *self)
{
	PyObject *application = application_of(self);

	return application ? PyObject_IsTrue(application) : -1;
}

static PyObject *standin_iter(PyObject *self)
{
	PyObject *application = application_of(self);

	return application ? PyObject_GetIter(application) : NULL;
}

static Py_ssize_t standin_length(PyObject *self)
{
	PyObject *application = application_of(self);

	return application ? PyObject_Size(application) : -1;
}

static int standin_contains(PyObject *self, PyObject *item)
{
	PyObject *application = application_of(self);

	return application ? PySequence_Contains(application, item) : -1;
}

static PyObject *standin_subscript(PyObject *self, PyObject *key)
{
	PyObject *application = application_of(self);

	return application ? PyObject_GetItem(application, key) : NULL;
}

static int standin_ass_subscript(PyObject *self, PyObject *key, PyObject *value)
{
	PyObject *application = application_of(self);

	if (!application)
		return -1;
	return value ? PyObject_SetItem(application, key, value) : PyObject_DelItem(application, key);
}

static int standin_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));        /* the instances of heap types own their type */
	Py_VISIT(((struct standin *)self)->application);
	Py_VISIT(((struct standin *)self)->call);
	Py_VISIT(((struct standin *)self)->after);
	return 0;
}

static int standin_clear(PyObject *self)
{
	Py_CLEAR(((struct standin *)self)->application);
	Py_CLEAR(((struct standin *)self)->call);
	Py_CLEAR(((struct standin *)self)->after);
	return 0;
}

static void standin_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	if (((struct standin *)self)->weak)
		PyObject_ClearWeakRefs(self);
	standin_clear(self);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMemberDef members[] = {
	{"__weaklistoffset__", T_PYSSIZET, offsetof(struct standin, weak), READONLY, NULL},
	{NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_doc,
	 "StandIn(application, /, *, call=None, after=None)\n--\n\n"
	 "Take the place of an application: attributes and the like are the application's.\n\n"
	 "A call calls `call` instead; without one the application, and `after` when that has returned."},
	{Py_tp_new, standin_new},
	{Py_tp_call, standin_call},
	{Py_tp_getattro, standin_getattro},
	{Py_tp_setattro, standin_setattro},
	{Py_tp_repr, standin_repr},
	{Py_tp_str, standin_str},
	{Py_tp_hash, standin_hash},
	{Py_tp_richcompare, standin_richcompare},
	{Py_nb_bool, standin_bool},
	{Py_tp_iter, standin_iter},
	{Py_mp_length, standin_length},
	{Py_sq_contains, standin_contains},
	{Py_mp_subscript, standin_subscript},
	{Py_mp_ass_subscript, standin_ass_subscript},
	{Py_tp_traverse, standin_traverse},
	{Py_tp_clear, standin_clear},
	{Py_tp_dealloc, standin_dealloc},
	{Py_tp_members, members},
	{0, NULL},
};

PyType_Spec grd_standin_spec = {
	.name = "gunicorn_raindrops._native._objects.StandIn",
	.basicsize = sizeof(struct standin),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = slots,
};
