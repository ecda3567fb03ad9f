/* Looks at the requests in flight of a held slot, as Python has them. */
#ifndef GRD_FLIGHTS_H
#define GRD_FLIGHTS_H

#include "objects.h"

#include "requests.h"

/* A list of tuples: the requests that have lasted so many ns, a Python int. */
PyObject *grd_list_flights(const struct grd_held *held, PyObject *age);

/* Take (ticket, where); returns whether the request is in flight still. */
PyObject *grd_note_where(const struct grd_held *held, PyObject *args);

int grd_add_flights(PyObject *module);

#endif
