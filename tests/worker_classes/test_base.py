"""The outcome of a response, as gunicorn tells it in post_request."""

import errno
import ssl
import sys
from types import SimpleNamespace

import pytest

from gunicorn_raindrops.worker_classes.base import outcome


class HTTP2Error(Exception):
    """Stands in for gunicorn's, which is not there before 25."""


GONE = OSError(errno.EPIPE, "gone")
RAISED = ValueError("no")


@pytest.mark.parametrize(
    ("status", "sent", "error", "expected"),
    [
        ("200 OK", True, None, ("200 OK", False)),
        ("200 OK", False, None, ("200 OK", False)),
        (None, True, None, ("500", False)),
        ("200 OK", True, RAISED, ("200 OK", True)),
        ("200 OK", False, RAISED, ("500", True)),
        (None, False, RAISED, ("500", True)),
        ("200 OK", True, GONE, ("200 OK", False)),
        ("200 OK", False, GONE, ("200 OK", False)),
        ("404 Not Found", False, ssl.SSLError("gone"), ("404 Not Found", False)),
        ("200 OK", False, OSError(errno.EIO, "no"), ("500", True)),
        ("200 OK", False, HTTP2Error(), ("200 OK", False)),
    ],
    ids=repr,
)
def test_outcome(monkeypatch, status, sent, error, expected):
    """An application that raises before its first byte is a 500; a client that went is no error,
    and its status stands as it was meant."""
    monkeypatch.setitem(
        sys.modules, "gunicorn.http2.errors", SimpleNamespace(HTTP2Error=HTTP2Error)
    )
    assert outcome(SimpleNamespace(status=status, headers_sent=sent), error) == expected
