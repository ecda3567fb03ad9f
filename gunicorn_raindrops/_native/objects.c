/* The module `_objects`: multi-phase initialization (PEP 489), a state per module. */
#include "objects.h"

#include "attached.h"
#include "flights.h"
#include "steps.h"

void grd_view_show(struct grd_view *view, char *base, PyObject *keep)
{
	PyObject *before = view->keep;

	Py_INCREF(keep);
	view->base = base;
	view->keep = keep;
	Py_XDECREF(before);     /* last: it may unmap what `base` pointed to */
}

int grd_view_clear(PyObject *self)
{
	struct grd_view *view = (struct grd_view *)self;

	view->base = NULL;
	Py_CLEAR(view->keep);
	return 0;
}

PyObject *grd_view_close(PyObject *self, PyObject *unused)
{
	grd_view_clear(self);
	Py_RETURN_NONE;
}

int grd_view_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));        /* the instances of heap types own their type */
	Py_VISIT(((struct grd_view *)self)->keep);
	return 0;
}

void grd_view_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	grd_view_clear(self);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

int grd_to_address(PyObject *number, void *address)
{
	void *at = PyLong_AsVoidPtr(number);

	if (PyErr_Occurred())
		return 0;
	if (!at) {
		PyErr_SetString(PyExc_ValueError, "NULL is no address");
		return 0;
	}
	*(char **)address = at;
	return 1;
}

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
	PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);

	if (type && PyModule_AddType(module, (PyTypeObject *)type))
		Py_CLEAR(type);
	return (PyTypeObject *)type;
}

static int execute(PyObject *module)
{
	static PyType_Spec *const specs[] = {
		&grd_counter_spec, &grd_recorder_spec, &grd_tickets_spec, &grd_standin_spec,
	};
	struct grd_state *state = PyModule_GetState(module);

	state->counters = add_type(module, &grd_counters_spec);
	if (!state->counters)
		return -1;
	for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
		PyTypeObject *type = add_type(module, specs[i]);

		if (!type)
			return -1;
		Py_DECREF(type);
	}
	return grd_add_attached(module) || grd_add_steps(module) || grd_add_flights(module) ? -1 : 0;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
	struct grd_state *state = PyModule_GetState(module);

	if (!state)
		return 0;
	Py_VISIT(state->counters);
	Py_VISIT(state->attached);
	return 0;
}

static int clear(PyObject *module)
{
	struct grd_state *state = PyModule_GetState(module);

	if (!state)
		return 0;
	Py_CLEAR(state->counters);
	if (state->attached)
		grd_detach();   /* first: what was attached may be unmapped now */
	Py_CLEAR(state->attached);
	return 0;
}

static void free_module(void *module)
{
	clear(module);
}

static PyModuleDef_Slot slots[] = {
	{Py_mod_exec, execute},
	{0, NULL},
};

static PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_objects",
	.m_doc = "Counters, histograms and requests as Python objects; see objects.h.",
	.m_size = sizeof(struct grd_state),
	.m_slots = slots,
	.m_traverse = traverse,
	.m_clear = clear,
	.m_free = free_module,
};

PyMODINIT_FUNC PyInit__objects(void)
{
	return PyModuleDef_Init(&module);
}
