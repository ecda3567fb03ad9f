/* An ASGI request and what is known of its response, as a Python type.
 *
 * The application calls it to send. In Python that costs a request more than all that is counted of
 * it: there is no thread to keep its state, so every message goes through here. */
#ifndef GRD_EXCHANGE_H
#define GRD_EXCHANGE_H

#define Py_LIMITED_API 0x030a0000
#include <Python.h>

/* Add the type to the module. It is meant to be derived from, see asgi.py, which also says what
 * counts when. Its class methods:
 * - counting(application, others): a callable that calls `application` for scopes of type http and
 *   counts these in the slot that this process has attached, and calls `others` for any other;
 * - call(application, seat, ticket, scope, receive, send): call it for one request that has begun
 *   in `seat`, see seat.py.
 *
 * What the application gets as `send` is the exchange, a call of which returns what the server's
 * send does, watched (see watched.h), or not: of a response's only body, if that is small. What it
 * gets as `receive` is a method of the derived type, which may use _server_receive, and tells by
 * _gone() that the client is. Its _await(awaitable) makes a coroutine of what is none.
 */
int grd_add_exchange(PyObject *module);

#endif
