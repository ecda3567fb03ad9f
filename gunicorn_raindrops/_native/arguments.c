#include "arguments.h"

/* Surrogates, which a server may have made of bytes that are no text, have no UTF-8. */
static int replaced(PyObject *object, struct grd_text *text)
{
	char *bytes;

	if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
		return -1;
	PyErr_Clear();
	text->owner = PyUnicode_AsEncodedString(object, "utf-8", "replace");
	if (!text->owner || PyBytes_AsStringAndSize(text->owner, &bytes, &text->size))
		return -1;
	text->at = bytes;
	return 0;
}

/* The UTF-8 of a str in ASCII, as nearly all are, is the str itself. */
static int to_text(PyObject *object, const char *name, struct grd_text *text)
{
	if (!PyUnicode_Check(object)) {
		PyErr_Format(PyExc_TypeError, "%s must be a str, not %R", name, object);
		return -1;
	}
	text->at = PyUnicode_AsUTF8AndSize(object, &text->size);
	return text->at ? 0 : replaced(object, text);
}

int grd_to_line(PyObject *const *args, Py_ssize_t given, struct grd_text texts[2])
{
	static const char *const names[2] = {"method", "path"};

	for (int i = 0; i < 2; i++)
		texts[i] = (struct grd_text){"", 0, NULL};
	for (int i = 0; i < 2 && i < given; i++) {
		if (to_text(args[i], names[i], &texts[i])) {
			grd_release_texts(texts);
			return -1;
		}
	}
	return 0;
}

void grd_release_texts(struct grd_text texts[2])
{
	Py_XDECREF(texts[0].owner);
	Py_XDECREF(texts[1].owner);
}

int grd_to_ticket(PyObject *number, uint64_t *ticket)
{
	*ticket = PyLong_AsUnsignedLongLong(number);
	if (*ticket == (uint64_t)-1 && PyErr_Occurred()) {
		if (PyErr_ExceptionMatches(PyExc_TypeError))
			return -1;
		PyErr_Clear();
		*ticket = 0;
	}
	if (grd_is_ticket(*ticket))
		return 0;
	PyErr_Format(PyExc_ValueError, "%R is no ticket", number);
	return -1;
}

int grd_to_end(PyObject *const *args, Py_ssize_t given, uint64_t *ticket, unsigned int *how)
{
	int overflow;
	long number;

	if (grd_expect(given, 2, 2) || grd_to_ticket(args[0], ticket))
		return -1;
	number = PyLong_AsLongAndOverflow(args[1], &overflow);
	if (number == -1 && !overflow && PyErr_Occurred())
		return -1;
	if (overflow || number < 0 || number >= GRD_HOWS ||
	    (number & GRD_HUNDREDS) > GRD_RESPONSE_CLASSES) {
		PyErr_Format(PyExc_ValueError, "no request ends as %R", args[1]);
		return -1;
	}
	*how = (unsigned int)number;
	return 0;
}

int grd_to_state(PyObject *number, uint32_t *state)
{
	long given = PyLong_AsLong(number);

	if (given == -1 && PyErr_Occurred())
		return -1;
	if (given < GRD_FREE || given > GRD_FINISHING) {
		PyErr_Format(PyExc_ValueError, "%R is no state", number);
		return -1;
	}
	*state = (uint32_t)given;
	return 0;
}
