/* Conversions of arguments, each of which returns 0, or -1 with an exception set. They run before
 * anything is counted, since any Python code may run in them. */
#ifndef GRD_ARGUMENTS_H
#define GRD_ARGUMENTS_H

#include "objects.h"

#include "requests.h"

/* Check how many arguments were given. */
static inline int grd_expect(Py_ssize_t given, Py_ssize_t least, Py_ssize_t most)
{
	if (given >= least && given <= most)
		return 0;
	PyErr_Format(PyExc_TypeError, "takes %zd to %zd arguments, got %zd", least, most, given);
	return -1;
}

/* A str as UTF-8, for as long as `owner` is held. */
struct grd_text {
	const char *at;
	Py_ssize_t size;
	PyObject *owner;
};

/* Convert (method="", path=""), for grd_line_of and, after its use, grd_release_texts. */
int grd_to_line(PyObject *const *args, Py_ssize_t given, struct grd_text texts[2]);
void grd_release_texts(struct grd_text texts[2]);

/* Convert a ticket, (ticket, how), a state of a slot. */
int grd_to_ticket(PyObject *number, uint64_t *ticket);
int grd_to_end(PyObject *const *args, Py_ssize_t given, uint64_t *ticket, unsigned int *how);
int grd_to_state(PyObject *number, uint32_t *state);

/* Convert a number of nanoseconds. */
static inline int grd_to_ns(PyObject *number, uint64_t *ns)
{
	*ns = PyLong_AsUnsignedLongLong(number);
	return *ns == (uint64_t)-1 && PyErr_Occurred() ? -1 : 0;
}

static inline struct grd_line grd_line_of(const struct grd_text texts[2])
{
	return (struct grd_line){texts[0].at, (size_t)texts[0].size,
				 texts[1].at, (size_t)texts[1].size};
}

/* A ticket, for Python. */
static inline PyObject *grd_ticket(uint64_t ticket)
{
	return PyLong_FromUnsignedLongLong(ticket);
}

#endif
