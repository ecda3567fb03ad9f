"""What a request was broken off by, and the outcome of a response, as gunicorn tells them in
post_request. tests/integration/test_outcomes.py compares both with what clients get."""

import errno
import ssl
import sys
from types import SimpleNamespace

import pytest

from gunicorn_raindrops.worker_classes.ending import outcome, own_error


class HTTP2Error(Exception):
    """Stands in for gunicorn's, which is not there before 25."""


class Parsers(Exception):
    """Stands in for errors of gunicorn's parser."""

    __module__ = "gunicorn.http.errors"


class InvalidChunkSize(Parsers):
    pass


class OldInvalidChunkSize(Parsers, OSError):
    pass


class InvalidHeader(Parsers):
    pass


class InvalidResponseHeader(Parsers):
    pass


for one in Parsers.__subclasses__():
    one.__module__ = Parsers.__module__
OldInvalidChunkSize.__name__ = "InvalidChunkSize"  # before 27

GONE = OSError(errno.EPIPE, "gone")
RAISED = ValueError("no")
DISK = OSError(errno.EIO, "no")
EOF = ssl.SSLError(ssl.SSL_ERROR_EOF, "gone")
WHOLE, BROKEN, UNSENT, NONE = ("200 OK", True), ("200 OK", True), ("200 OK", False), (None, False)


@pytest.mark.parametrize(
    ("resp", "error", "expected"),
    [
        (WHOLE, None, ("200 OK", False)),
        (UNSENT, None, ("200 OK", False)),  # HTTP/2, before 27
        ((None, True), None, ("", False)),
        (BROKEN, RAISED, ("200 OK", True)),
        (BROKEN, GONE, ("200 OK", False)),
        (BROKEN, DISK, ("200 OK", True)),
        (BROKEN, StopIteration(), ("200 OK", False)),
        (BROKEN, SystemExit(), ("200 OK", False)),
        (UNSENT, RAISED, ("500", True)),
        (NONE, RAISED, ("500", True)),
        (UNSENT, GONE, ("", False)),
        (UNSENT, DISK, ("", True)),
        (UNSENT, EOF, ("", True)),
        (NONE, ssl.SSLError(1, "no"), ("403", True)),
        (NONE, StopIteration(), ("", False)),
        (NONE, SystemExit(), ("", False)),
        (NONE, InvalidChunkSize(), ("400", False)),
        (NONE, OldInvalidChunkSize(), ("", False)),
        (NONE, InvalidHeader(), ("400", True)),
        (NONE, InvalidResponseHeader(), ("500", True)),
        (UNSENT, HTTP2Error(), ("", False)),
    ],
    ids=repr,
)
def test_outcome(monkeypatch, resp, error, expected):
    """The class is that of what is sent; a client's doing is no error of the application's."""
    monkeypatch.setitem(
        sys.modules, "gunicorn.http2.errors", SimpleNamespace(HTTP2Error=HTTP2Error)
    )
    assert outcome(response(*resp), error, lambda error: False) == expected


def response(status, sent, *, tls=False, version=(1, 1)):
    return SimpleNamespace(
        status=status,
        headers_sent=sent,
        cfg=SimpleNamespace(is_ssl=tls),
        req=SimpleNamespace(version=version),
    )


@pytest.mark.parametrize("error", [EOF, ssl.SSLError(1, "no")], ids=repr)
def test_tls(error):
    """Where the client's connection has TLS, what fails there is its."""
    assert outcome(response(*UNSENT, tls=True), error, lambda error: False) == ("", False)


@pytest.mark.parametrize("error", [RAISED, DISK, StopIteration()], ids=repr)
def test_http2(error):
    """Over HTTP/2 gunicorn answers each error."""
    resp = response(*NONE, version=(2, 0))
    assert outcome(resp, error, lambda error: True) == ("500", True)
    assert outcome(resp, SystemExit(), lambda error: True) == ("", False)


def test_an_exit_that_is_answered():
    """Some workers answer it: then it is an error."""
    assert outcome(response(*NONE), SystemExit(), lambda error: True) == ("500", True)


# What broke a request off.


def handle_request(application, *, leaves=False):
    """Call an application as gunicorn does; return what `own_error` says of it."""
    seen = []
    try:
        try:
            application()
            if leaves:
                raise StopIteration
        except ValueError:
            raise StopIteration from None
        finally:
            seen.append(hook())
    except BaseException:
        pass
    return seen[0]


def hook():
    return post_request(sys.exc_info()[1])


def post_request(error):
    return end(error)


def end(error):
    return own_error(error)


def raising(error):
    def application():
        raise error

    return application


def within(error, function, *args, **kwargs):
    """Call a function while an error is handled."""
    try:
        raise error
    except type(error):
        return function(*args, **kwargs)


AROUND = [None, KeyError("of an outer frame"), StopIteration()]


@pytest.mark.parametrize("around", AROUND, ids=repr)
def test_the_requests_own_error(around):
    """What is handled around the request is another's, also where gunicorn leaves its loop."""

    def own(*args, **kwargs):
        if around is None:
            return handle_request(*args, **kwargs)
        return within(around, handle_request, *args, **kwargs)

    assert own(lambda: None) is None
    assert own(lambda: None, leaves=True) is None
    for error in (KeyError("own"), StopIteration(), SystemExit(), RAISED):
        assert own(raising(error)) is error


def test_the_applications_own_handling():
    """What an application handles in between is none; nor is a request within a request."""

    def application():
        return within(KeyError("handled"), handle_request, lambda: None)

    assert handle_request(application) is None
    assert within(RAISED, application) is None
