/* What counting wants to know of ASGI's dictionaries: scopes and messages. What these lack, or hold
 * that they should not, is for the server to say: nothing here raises. */
#ifndef GRD_MESSAGES_H
#define GRD_MESSAGES_H

#define Py_LIMITED_API 0x030a0000
#include <Python.h>

enum grd_kind {                 /* of the messages of a response */
	GRD_MESSAGE_OTHER,
	GRD_MESSAGE_START,
	GRD_MESSAGE_BODY,
	GRD_MESSAGE_FILE,       /* a body by one of the extensions that send files */
	GRD_MESSAGE_TRAILERS
};

int grd_messages_init(void);    /* before anything else; -1, with an exception set: no memory */

int grd_scope_is_http(PyObject *scope);
/* A new reference to what the text belongs to, NULL if there is none: it is empty then. */
PyObject *grd_scope_method(PyObject *scope, const char **text, size_t *size);
PyObject *grd_scope_path(PyObject *scope, const char **text, size_t *size);

enum grd_kind grd_message_kind(PyObject *message);
int grd_message_hundreds(PyObject *start);      /* of its status; 0 if that is none */
int grd_message_has_trailers(PyObject *start);
int grd_message_is_whole_and_small(PyObject *body);     /* asyncio takes so much without a wait */
int grd_message_has_more_body(PyObject *message);
int grd_message_has_more_trailers(PyObject *message);

#endif
