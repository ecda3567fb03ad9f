"""Ports for servers that must know theirs before they listen."""

import contextlib
import itertools
import os
import socket

LOW, HIGH = 10_000, 32_000
"""Below those that the system gives to clients, and to servers that leave the choice to it."""
_counted = itertools.count(os.getpid() * 61)  # processes that run at once begin far apart


def free_port():
    """Return a port that is free on 127.0.0.1, and that nobody is given who does not ask for it."""
    ports = (LOW + number % (HIGH - LOW) for number in _counted)
    return next(port for port in ports if _is_free(port))


def free_address():
    """Return 127.0.0.1 with such a port."""
    return f"127.0.0.1:{free_port()}"


def _is_free(port):
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False
