"""How a request ends: its class, and whether its client is gone."""

import errno
import ssl
import sys
from types import SimpleNamespace

import pytest

from gunicorn_raindrops.counting.outcome import class_of, class_of_code, is_client_gone


@pytest.mark.parametrize(
    ("status", "expected"),
    [("100 Continue", 1), ("200 OK", 2), ("304", 3), ("404 Not Found", 4), ("503 Busy", 5),
     ("600", 0), ("abc", 0), (" 200 OK", 0), ("", 0), (None, 0)],
)  # fmt: skip
def test_the_class_of_a_status(status, expected):
    """It is the status's first character, where that is a class."""
    assert class_of(status) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [(100, 1), (204, 2), (399, 3), (404, 4), (599, 5), (600, 0), (99, 0), (0, 0), (-200, 0)],
)
def test_the_class_of_a_code(code, expected):
    """It is the hundreds, where they are a class."""
    assert class_of_code(code) == expected


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (BrokenPipeError(errno.EPIPE, "gone"), True),
        (ConnectionResetError(errno.ECONNRESET, "gone"), True),
        (OSError(errno.ENOTCONN, "gone"), True),
        (ssl.SSLError("gone"), True),
        (OSError(errno.EIO, "no"), False),
        (OSError("no number"), False),
        (ValueError(errno.EPIPE), False),
        (None, False),
    ],
    ids=repr,
)
def test_a_client_that_is_gone(error, gone):
    """Only what its connection raises says so."""
    assert is_client_gone(error) is gone


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (OSError(), True),
        (BrokenPipeError(errno.EPIPE, "gone"), True),
        (FileNotFoundError(errno.ENOENT, "no"), False),
        (ValueError(), False),
    ],
    ids=repr,
)
def test_what_the_server_raises(error, gone):
    """Where it sends, an OSError without a number says so as well."""
    assert is_client_gone(error, by_server=True) is gone


@pytest.mark.parametrize(
    ("module", "name", "base"),
    [
        ("gunicorn.http.errors", "NoMoreData", OSError),
        ("gunicorn.http2.errors", "HTTP2Error", Exception),
    ],
)
def test_what_gunicorn_raises(monkeypatch, module, name, base):
    """Its own errors for a client that left within its body, or reset a stream."""
    error = type(name, (base,), {})
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: error}))
    assert is_client_gone(error()) is True
    assert is_client_gone(base()) is False
