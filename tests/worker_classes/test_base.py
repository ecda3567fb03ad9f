"""The outcome of a response, as gunicorn tells it in post_request."""

import errno
import ssl
import sys
from types import SimpleNamespace

import pytest

from gunicorn_raindrops.worker_classes.base import in_place_of, outcome


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


def test_in_place_of_a_function():
    """Another function, with its name and one dictionary of attributes with it, whenever they are
    set."""

    def application():
        """The user's."""

    application.jobs = 1

    def counted():
        return 2

    placed = in_place_of(application, counted)
    assert (placed.__name__, placed.__doc__, placed.jobs) == ("application", "The user's.", 1)
    placed.more = application.less = 3
    assert (application.more, placed.less) == (3, 3)
    assert placed() == 2
    assert not hasattr(application, "__wrapped__")


def test_in_place_of_an_object():
    """Calls `counted`; or, where that does no more than to call `after` after it, the object."""

    class Application:
        def __call__(self):
            return calls.append("application")

    calls, application = [], Application()
    for after in (None, lambda: calls.append("after")):
        placed = in_place_of(application, lambda: calls.append("counted"), after=after)
        assert isinstance(placed, Application)
        placed()
    assert calls == ["counted", "application", "after"]
