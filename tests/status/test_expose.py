"""The status on the application's own listeners: the WSGI and the ASGI glue."""

import asyncio
import logging
import socket
import sys

import pytest

from gunicorn_raindrops.exporters import text
from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status import expose
from gunicorn_raindrops.status.app import StatusApp

from ..exporters.test_json import SNAPSHOT
from .test_thread import failing_at

TEXT = text.encode(SNAPSHOT)


@pytest.fixture
def status():
    return StatusApp(load({}, {}), lambda: SNAPSHOT, print)


class Unix:
    family = socket.AF_UNIX


def environ(**more):
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/_raindrops",
        "REMOTE_ADDR": "127.0.0.1",
        **more,
    }


# WSGI.


def call(status, environ):
    """Return what the client gets, and in which order the wrapper did what."""
    steps, started = [], []

    def application(environ, start_response):
        steps.append("application")
        return [b"the application's"]

    wrapped = expose.wsgi(application, status, lambda: steps.append("cancel"))
    body = wrapped(environ, lambda *args: started.append(args))
    return body, started, steps


def test_wsgi(status):
    """The status is answered here, after what the hooks have begun for it was taken back."""
    body, ((line, headers),), steps = call(status, environ())
    assert (line, body, steps) == ("200 OK", [TEXT], ["cancel"])
    assert ("Content-Length", str(len(TEXT))) in headers
    assert call(status, environ(REQUEST_METHOD="HEAD"))[0] == []


@pytest.mark.parametrize(
    "more",
    [
        {"PATH_INFO": "/"},
        {"REMOTE_ADDR": "192.0.2.1"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"gunicorn.socket": Unix},
        {"gunicorn.sock": Unix},
    ],
)
def test_wsgi_of_the_application(status, more):
    """Other paths are the application's, and so is a status path for one who may not read."""
    body, started, steps = call(status, environ(**more))
    assert (body, started, steps) == ([b"the application's"], [], ["application"])


def test_nothing_to_expose():
    """Then nothing stands around the application."""
    assert expose.wsgi(print, None) is print
    assert expose.asgi(print, None) is print


def test_a_peer_that_tornado_cannot_name():
    """0.0.0.0 is what it calls a unix peer: no address of any network that may read."""
    assert expose.as_it_came({"REMOTE_ADDR": "0.0.0.0"})["REMOTE_ADDR"] == ""
    there = {"REMOTE_ADDR": "127.0.0.1"}
    assert expose.as_it_came(there) is there


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_memory(status):
    """Wherever the status's part of a request fails for want of memory, the client gets the
    application's answer or a 500 in its place; nothing is raised into the server."""
    outermost = ("wsgi", "exposed", "send", "application", "<lambda>")
    seen = set()
    for number in range(1, 60):
        before = sys.gettrace()
        sys.settrace(failing_at(number, outermost))
        try:
            body, started, _ = call(status, environ())
        finally:
            sys.settrace(before)
        seen.add(started[0][0] if started else body[0])
    assert seen == {"200 OK", "500 Internal Server Error", b"the application's"}


# ASGI.


def scope(**more):
    return {
        "type": "http",
        "method": "GET",
        "path": "/_raindrops",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 50000),
        **more,
    }


def send_all(status, scope):
    sent = []

    async def application(scope, receive, send):
        await send("the application's")

    async def send(message):
        sent.append(message)

    asyncio.run(_awaited(expose.asgi(application, status)(scope, None, send)))
    return sent


async def _awaited(awaitable):
    await awaitable


def test_asgi(status):
    """The status is answered here; header names are lower case, as ASGI wants them."""
    start, body = send_all(status, scope())
    assert (start["status"], body["body"]) == (200, TEXT)
    assert (b"content-length", str(len(TEXT)).encode()) in start["headers"]
    assert send_all(status, scope(method="HEAD"))[1]["body"] == b""
    assert send_all(status, scope(method="PUT"))[0]["status"] == 405


@pytest.mark.parametrize("name", ["answer_asgi", "serves", "_path", "run"])
def test_asgi_without_memory(status, name):
    """Likewise: the application answers."""
    before, failed = sys.gettrace(), []

    def fail(frame, event, _):
        if frame.f_code.co_name == name and not failed:
            failed.append(name)
            raise MemoryError(name)

    sys.settrace(fail)
    try:
        sent = send_all(status, scope())
    finally:
        sys.settrace(before)
    assert (sent, failed) == (["the application's"], [name])


def test_asgi_below_a_root_path(status):
    """The path below where the application is mounted counts."""
    assert len(send_all(status, scope(path="/app/_raindrops", root_path="/app"))) == 2
    assert len(send_all(status, scope(path="/app/_raindrops", root_path="/ap"))) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"path": "/"},
        {"type": "websocket"},
        {"type": "lifespan"},
        {"client": ("192.0.2.1", 50000)},
        {"client": None},
        {"headers": [(b"x-forwarded-for", b"127.0.0.1")]},
    ],
)
def test_asgi_of_the_application(status, more):
    """Other paths and types of scope are the application's, and who may not read goes there."""
    assert send_all(status, scope(**more)) == ["the application's"]


# Warnings.


def test_each_warning_once(caplog):
    """Where no server gives us its log, a line that repeats is logged once."""
    warn = expose.warner()
    for line in ("one", "two", "one"):
        warn(line)
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.WARNING, "gunicorn-raindrops: one"),
        (logging.WARNING, "gunicorn-raindrops: two"),
    ]
