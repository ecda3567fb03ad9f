/* A coroutine around another, in C: it tells how the other ended, and adds nothing else. */
#ifndef GRD_WATCHED_H
#define GRD_WATCHED_H

#define Py_LIMITED_API 0x030a0000
#include <Python.h>

enum grd_ending {
	GRD_RETURNED,
	GRD_RAISED,             /* the exception is set, and stays so */
	GRD_DROPPED             /* nobody awaits it any more */
};

struct grd_watched;

/* Told in the thread in which it ends; must leave the exceptions as they are. */
typedef void grd_ended(struct grd_watched *watched, enum grd_ending how);

struct grd_watched {
	PyObject_HEAD
	PyObject *coroutine;    /* until it has ended */
	PyObject *owner;
	grd_ended *ended;
	int started;
	int note;               /* the owner's */
};

int grd_watched_init(void);     /* before anything else; -1, with an exception set: no memory */

/* A new one, around a coroutine, to which it takes over the reference. */
struct grd_watched *grd_watch(PyObject *coroutine, PyObject *owner, grd_ended *ended);

/* Whether it is one of Python's own, of an `async def`. */
int grd_is_coroutine(PyObject *object);

#endif
