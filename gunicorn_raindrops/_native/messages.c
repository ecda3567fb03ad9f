#include "messages.h"

#include <string.h>

enum { SMALL = 65536 };         /* asyncio's default high-water mark of a transport */

enum key { TYPE, METHOD, PATH, STATUS, BODY, MORE_BODY, TRAILERS, MORE_TRAILERS, KEYS };

static PyObject *keys[KEYS];

int grd_messages_init(void)
{
	static const char *const names[KEYS] = {
		"type", "method", "path", "status", "body", "more_body", "trailers", "more_trailers",
	};

	for (int i = 0; i < KEYS; i++)
		if (!keys[i] && !(keys[i] = PyUnicode_InternFromString(names[i])))
			return -1;
	return 0;
}

static PyObject *item(PyObject *mapping, enum key key) /* a new reference, or NULL without error */
{
	PyObject *value;

	if (PyDict_CheckExact(mapping)) {
		value = PyDict_GetItemWithError(mapping, keys[key]);
		Py_XINCREF(value);
	} else {
		value = PyObject_GetItem(mapping, keys[key]);
	}
	if (!value)
		PyErr_Clear();
	return value;
}

static int is_true(PyObject *message, enum key key)
{
	PyObject *value = item(message, key);
	int found = value ? PyObject_IsTrue(value) : 0;

	Py_XDECREF(value);
	if (found < 0)
		PyErr_Clear();
	return found > 0;
}

/* The scope. */

int grd_scope_is_http(PyObject *scope)
{
	PyObject *type = item(scope, TYPE);
	int http = type && PyUnicode_Check(type) && !PyUnicode_CompareWithASCIIString(type, "http");

	Py_XDECREF(type);
	return http;
}

static PyObject *text_of(PyObject *scope, enum key key, const char **text, size_t *size)
{
	PyObject *value = item(scope, key);
	Py_ssize_t length = 0;

	*text = value && PyUnicode_Check(value) ? PyUnicode_AsUTF8AndSize(value, &length) : "";
	if (!*text) {           /* a surrogate, say */
		PyErr_Clear();
		*text = "";
	}
	*size = (size_t)length;
	return value;
}

PyObject *grd_scope_method(PyObject *scope, const char **text, size_t *size)
{
	return text_of(scope, METHOD, text, size);
}

PyObject *grd_scope_path(PyObject *scope, const char **text, size_t *size)
{
	return text_of(scope, PATH, text, size);
}

/* Messages. */

static enum grd_kind kind_named(PyObject *type)
{
	static const struct { const char *name; enum grd_kind kind; } kinds[] = {
		{"start", GRD_MESSAGE_START},
		{"body", GRD_MESSAGE_BODY},
		{"pathsend", GRD_MESSAGE_FILE},
		{"zerocopysend", GRD_MESSAGE_FILE},
		{"trailers", GRD_MESSAGE_TRAILERS},
	};
	static const char family[] = "http.response.";
	const char *name = PyUnicode_AsUTF8AndSize(type, NULL);

	if (!name)
		PyErr_Clear();
	if (!name || strncmp(name, family, sizeof(family) - 1))
		return GRD_MESSAGE_OTHER;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(name + sizeof(family) - 1, kinds[i].name))
			return kinds[i].kind;
	return GRD_MESSAGE_OTHER;
}

/* An application's messages hold the same two str each time, constants of its code: the last ones
 * are known at sight. */
static enum grd_kind kind_of(PyObject *type)
{
	static PyObject *known[2];
	enum grd_kind kind;
	PyObject **place, *before;

	if (type == known[0])
		return GRD_MESSAGE_START;
	if (type == known[1])
		return GRD_MESSAGE_BODY;
	kind = PyUnicode_Check(type) ? kind_named(type) : GRD_MESSAGE_OTHER;
	if (kind == GRD_MESSAGE_START || kind == GRD_MESSAGE_BODY) {
		place = &known[kind == GRD_MESSAGE_BODY];
		before = *place;
		Py_INCREF(type);
		*place = type;
		Py_XDECREF(before);
	}
	return kind;
}

enum grd_kind grd_message_kind(PyObject *message)
{
	PyObject *type = item(message, TYPE);
	enum grd_kind kind = type ? kind_of(type) : GRD_MESSAGE_OTHER;

	Py_XDECREF(type);
	return kind;
}

int grd_message_hundreds(PyObject *start)
{
	PyObject *status = item(start, STATUS);
	long code = status && PyLong_Check(status) ? PyLong_AsLong(status) : 0;

	Py_XDECREF(status);
	if (code == -1)
		PyErr_Clear();
	return code >= 100 && code < 600 ? (int)(code / 100) : 0;
}

int grd_message_has_trailers(PyObject *start)
{
	return is_true(start, TRAILERS);
}

/* Most messages hold what they must and no more, so that a look for more_body can be spared. */
int grd_message_is_whole_and_small(PyObject *message)
{
	PyObject *body = item(message, BODY);
	int small = !body || (PyBytes_CheckExact(body) && PyBytes_Size(body) <= SMALL);
	int is_all = body && PyDict_CheckExact(message) && PyDict_Size(message) == 2;

	Py_XDECREF(body);
	return small && (is_all || !is_true(message, MORE_BODY));
}

int grd_message_has_more_body(PyObject *message)
{
	return is_true(message, MORE_BODY);
}

int grd_message_has_more_trailers(PyObject *message)
{
	return is_true(message, MORE_TRAILERS);
}
