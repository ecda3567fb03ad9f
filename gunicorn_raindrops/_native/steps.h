/* The request path as Python calls it: functions of the module, and the type Tickets. */
#ifndef GRD_STEPS_H
#define GRD_STEPS_H

#include "arguments.h"

int grd_add_steps(PyObject *module);

extern PyType_Spec grd_tickets_spec;

#endif
