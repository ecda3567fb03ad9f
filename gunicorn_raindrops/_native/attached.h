/* The slot that this process has attached, as its owner sets it up and says what it is: functions of
 * the module. None of them is on the request path. */
#ifndef GRD_ATTACHED_H
#define GRD_ATTACHED_H

#include "objects.h"

int grd_add_attached(PyObject *module);

#endif
