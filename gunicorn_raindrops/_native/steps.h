/* The request path as Python calls it: functions of the module, and the type Tickets. */
#ifndef GRD_STEPS_H
#define GRD_STEPS_H

#include "objects.h"

#include "requests.h"

/* A str as UTF-8, for as long as `owner` is held. */
struct grd_text {
	const char *at;
	Py_ssize_t size;
	PyObject *owner;
};

/* Convert (method="", path=""), for grd_line_of and, after its use, grd_release_texts; -1: an
 * exception is set. */
int grd_to_line(PyObject *const *args, Py_ssize_t given, struct grd_text texts[2]);
struct grd_line grd_line_of(const struct grd_text texts[2]);
void grd_release_texts(struct grd_text texts[2]);

/* Convert a ticket, and (ticket, how). */
int grd_to_ticket(PyObject *number, uint64_t *ticket);
int grd_to_end(PyObject *const *args, Py_ssize_t given, uint64_t *ticket, unsigned int *how);
int grd_to_state(PyObject *number, uint32_t *state);

PyObject *grd_ticket(uint64_t ticket);

int grd_add_steps(PyObject *module);

extern PyType_Spec grd_tickets_spec;

#endif
