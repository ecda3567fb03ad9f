"""How a request ends: the class of its status, and whether its client is gone."""

from __future__ import annotations

import errno

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


def is_client_gone(error: BaseException | None) -> bool:
    """Tell whether an error says that the client is gone, which is no fault of the application."""
    if not isinstance(error, OSError):
        return False
    import ssl  # here, since a process without gunicorn need not have it

    return isinstance(error, ssl.SSLError) or error.errno in _CLIENT_GONE
