"""How a request ends: the class of its status, and whether its client is gone.

Whether an error means that the client is gone is decided here alone, for every server.
"""

from __future__ import annotations

import errno
import sys

CLASSES = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5}
"""The class of a status by its first character."""

_CLIENT_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN}


def class_of(status: str | None) -> int:
    """Return the class of a status as WSGI writes it, 1 to 5; 0 for none and for a strange one."""
    return CLASSES.get(status[:1], 0) if status else 0


def class_of_code(code: int) -> int:
    """Return the class of a status code, 1 to 5; 0 for one that is no status."""
    hundreds = code // 100
    return hundreds if 1 <= hundreds <= 5 else 0


def is_client_gone(error: BaseException | None, *, by_server: bool = False) -> bool:
    """Tell whether an error says that the client is gone, which is no fault of the application.

    Args:
        error: what was raised.
        by_server: the server's own `send` or `write` raised it. Then an OSError without a number
            says so, too: the ASGI specification has servers raise a subclass of OSError.
    """
    if error is None or _is_gunicorns(error):
        return error is not None
    if not isinstance(error, OSError):
        return False
    import ssl  # here, since a process without gunicorn need not have it

    if isinstance(error, ssl.SSLError) or error.errno in _CLIENT_GONE:
        return True
    return by_server and error.errno is None


def _is_gunicorns(error: BaseException) -> bool:
    """Tell whether an error is one of gunicorn's own that say so: its client went within a body
    that the application reads, or reset its stream of HTTP/2."""
    classes = [("gunicorn.http.errors", "NoMoreData"), ("gunicorn.http2.errors", "HTTP2Error")]
    modules = [(sys.modules.get(module), name) for module, name in classes]
    return any(module and isinstance(error, vars(module)[name]) for module, name in modules)
