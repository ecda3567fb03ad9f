"""The hooks of a worker: what they make of a request, and of the worker's end."""

import errno
import logging
import signal
import socket
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config

import gunicorn_raindrops
from gunicorn_raindrops import hooks
from gunicorn_raindrops.counting import attached, request
from gunicorn_raindrops.hooks import state
from gunicorn_raindrops.hooks import worker as worker_hooks
from gunicorn_raindrops.scoreboard import exits
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.worker_classes.threads import Sync, Threads, responding

from .conftest import REQUEST, Exposed, Worker, configured, environ, response


@pytest.fixture
def counting(fork):
    """Return a function that runs a test's part in a child that has a slot; it gets `figures()`:
    calling, writing, requests, responses of 2xx, of 4xx, of 5xx, errors."""
    board = Scoreboard(1)

    def run(part):
        claim = board.claim()

        def child(link):
            def figures():
                reading = board.read()
                calling = sum(row.calling for row in reading.rows)
                writing = sum(row.writing for row in reading.rows)
                _, two, _, four, five = reading.responses
                return calling, writing, reading.requests, two, four, five, reading.errors

            assert attached.take_over(board, claim, 1, 1)
            part(figures)

        fork(child).check()

    yield run
    board.forget_file()


def handle_request(cfg, worker):
    """Handle a request as gunicorn's workers do: the hooks around the application; what the
    second hook raises is logged, what anything else raises ends the request."""
    environ = {}
    made = None
    try:
        try:
            cfg.pre_request(worker, REQUEST)
            environ, made = {"PATH_INFO": "/"}, response(None, False)
            for _ in worker.wsgi(environ, made):
                made.headers_sent = True
        finally:
            try:
                cfg.post_request(worker, REQUEST, environ, made)
            except Exception:
                worker.log.info("Exception in post_request hook")
    except BaseException as error:
        return error
    return None


def installed(application, namespace=None, **attributes):
    """Return a Config with our hooks around those of `namespace`, and a worker."""
    namespace = namespace if namespace is not None else {}
    hooks.install(namespace)
    cfg = configured(namespace)
    worker = Worker(cfg, responding(application))
    vars(worker).update(attributes)
    return cfg, worker


def ok(environ, resp):
    resp.status = "200 OK"
    return [b"x"]


def test_phases(counting):
    """Calling until the application has returned, writing until the response is sent."""

    def part(figures):
        seen = []

        def application(environ, resp):
            seen.append(figures()[:3])

            def chunks():
                seen.append(figures()[:3])
                yield b"x"

            resp.status = "200 OK"
            return chunks()

        cfg, worker = installed(application)
        assert handle_request(cfg, worker) is None
        assert seen == [(1, 0, 0), (0, 1, 0)]
        assert figures() == (0, 0, 1, 1, 0, 0, 0)

    counting(part)


def test_the_iterable_is_untouched():
    """What the application returned is what gunicorn gets: file wrappers still work."""
    iterable = object()
    assert responding(lambda environ, start: iterable)({}, None) is iterable


RAISING = [ValueError("no"), OSError(errno.EIO, "no"), SystemExit(1), KeyboardInterrupt()]


@pytest.mark.parametrize("error", RAISING, ids=repr)
@pytest.mark.parametrize(
    "where", ["pre_request", "post_request", "application", "iterable", "both"]
)
def test_whatever_raises_the_pair_is_balanced(counting, calls, where, error):
    """A request that has begun is ended, once, whoever raises what: none is left in flight."""

    def part(figures):
        def raising(environ, resp):
            if where == "application":
                raise error

            def chunks():
                if where == "iterable":
                    raise error
                yield b"x"

            resp.status = "200 OK"
            return chunks()

        namespace = {}
        if where in ("pre_request", "both"):
            namespace["pre_request"] = calls.hook("pre_request", 2)
        if where in ("post_request", "both"):
            namespace["post_request"] = calls.hook("post_request", 3)
        calls.error = error
        cfg, worker = installed(raising, namespace)
        handle_request(cfg, worker)
        # gunicorn answers no OSError
        failed = (0, 0, 1, 0, 0, 0 if isinstance(error, OSError) else 1, 1)
        expected = {
            "pre_request": (0, 0, 0, 0, 0, 0, 0),  # it never came to the application
            "both": (0, 0, 0, 0, 0, 0, 0),
            "post_request": (0, 0, 1, 1, 0, 0, 0),
            "application": failed,
            "iterable": failed,
        }[where]
        assert figures() == expected
        calls.error = None
        worker.wsgi = responding(ok)
        handle_request(cfg, worker)
        assert figures()[:3] == (0, 0, expected[2] + 1)

    counting(part)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, "ssl"])
def test_a_client_that_went_away(counting, number):
    """Its request is counted as it was answered, and is no error of the application's."""
    error = ssl.SSLError("gone") if number == "ssl" else OSError(number, "gone")

    def part(figures):
        def application(environ, resp):
            resp.status = "200 OK"

            def chunks():
                yield b"x"
                raise error

            return chunks()

        cfg, worker = installed(application)
        assert handle_request(cfg, worker) is error
        assert figures() == (0, 0, 1, 1, 0, 0, 0)

    counting(part)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", (1, 1, 0, 0)),
        ("404 Not Found", (1, 0, 1, 0)),
        ("503 Service Unavailable", (1, 0, 0, 1)),
        ("500", (1, 0, 0, 1)),
        ("999 Odd", (1, 0, 0, 0)),
        ("abc", (1, 0, 0, 0)),
        (" 200 OK", (1, 0, 0, 0)),
        (None, (1, 0, 0, 0)),
        ("", None),
        (b"200 OK", None),
        (200, None),
        (("200", "OK"), None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("alive", [True, False])
def test_statuses(counting, status, expected, alive):
    """A request is ended and counted whatever its status is, in its class if it has one; also the
    last one of a worker that is to stop."""

    def part(figures):
        cfg, worker = installed(ok, alive=alive)
        worker.wsgi = responding(lambda environ, resp: setattr(resp, "status", status) or [b""])
        assert handle_request(cfg, worker) is None
        calling, writing, requests, *responses, errors = figures()
        assert (calling, writing, requests, errors) == (0, 0, 1, 0)
        assert expected is None or (requests, *responses) == expected

    counting(part)


def test_no_response_at_all(counting):
    """post_request without a response means that the application was never called: not counted."""

    def part(figures):
        cfg, worker = installed(ok)
        cfg.pre_request(worker, REQUEST)
        assert figures()[0] == 1
        cfg.post_request(worker, REQUEST, {}, None)
        assert figures() == (0, 0, 0, 0, 0, 0, 0)
        cfg.post_request(worker, REQUEST, {}, response())
        cfg.post_request(worker, REQUEST, {}, None)
        assert figures() == (0, 0, 0, 0, 0, 0, 0)

    counting(part)


def test_the_debug_line(caplog):
    """gunicorn's own pre_request hook, which ours replaces, logs each request; so does ours, where
    the level is on."""
    worker = Worker(None)
    with caplog.at_level(logging.DEBUG, "test"):
        hooks.pre_request(worker, REQUEST)
        request.cancel()
    assert [record.getMessage() for record in caplog.records] == ["GET /x"]
    assert caplog.records[0].levelno == logging.DEBUG


@pytest.mark.parametrize("users", [False, True], ids=["alone", "beside a user's"])
@pytest.mark.parametrize("strategy", [Sync, Threads])
def test_the_request_path_is_short(monkeypatch, strategy, users):
    """A hook and the strategy's method: two Python frames of ours each, the rest is native. What
    a frame costs, each request would pay twice."""
    monkeypatch.setattr(state.process, "strategy", strategy())
    monkeypatch.setattr(state.process, "debugging", False)
    namespace = {}
    if users:
        namespace = {"pre_request": lambda worker, req: None}
        namespace["post_request"] = lambda worker, req, environ, resp: None
    hooks.install(namespace)
    cfg = configured(namespace)
    worker, frames, folder = Worker(cfg), [], Path(gunicorn_raindrops.__file__).parent

    def note(frame, event, arg):
        if event == "call" and Path(frame.f_code.co_filename).is_relative_to(folder):
            frames.append(frame.f_code.co_name)

    here, there = socket.socketpair()
    with here, there:
        req = SimpleNamespace(
            method="GET", path="/", req_number=1, unreader=SimpleNamespace(sock=here)
        )
        post = cfg.post_request
        for hook, args in ((cfg.pre_request, (worker, req)), (post, (worker, req, {}, response()))):
            frames.clear()
            sys.setprofile(note)
            try:
                hook(*args)
            finally:
                sys.setprofile(None)
            # before 3.11 Python has no sys.exception, and ours is a frame more
            assert len([name for name in frames if name != "_error"]) == 2, frames


# The status on the application's own listeners.


def test_exposed(monkeypatch):
    """Whoever is admitted gets the status, HEAD its headers; everything else is the
    application's."""
    exposed = Exposed(monkeypatch)
    status, headers, body = exposed.get(environ())
    assert (status, headers["Content-Length"]) == ("200 OK", str(len(body)))
    assert body.startswith(b"calling: ")
    status, headers, nothing = exposed.get(environ(REQUEST_METHOD="HEAD"))
    assert (status, headers["Content-Length"], nothing) == ("200 OK", str(len(body)), b"")
    assert exposed.get(environ(REQUEST_METHOD="POST"))[0] == "405 Method Not Allowed"
    assert exposed.reached == []
    for other in (
        environ(PATH_INFO="/"),
        environ(REMOTE_ADDR="10.0.0.1"),
        environ(REMOTE_ADDR=""),
        environ(HTTP_X_FORWARDED_FOR="127.0.0.1"),
        environ(PROXY_PROTOCOL="TCP4"),
    ):
        assert exposed.get(other)[2] == b"the application's"
    assert len(exposed.reached) == 5


def test_exposed_is_off_by_default(monkeypatch):
    """The application's listeners do not answer the path then."""
    exposed = Exposed(monkeypatch, expose=False)
    assert exposed.get(environ())[2] == b"the application's"


def test_exposed_requests_do_not_count(counting, monkeypatch):
    """They are none of the application's."""

    def part(figures):
        exposed = Exposed(monkeypatch)
        hooks.pre_request(exposed.worker, REQUEST)
        exposed.get(environ())
        assert figures() == (0, 0, 0, 0, 0, 0, 0)
        hooks.post_request(exposed.worker, REQUEST, environ(), response())
        assert figures() == (0, 0, 0, 0, 0, 0, 0)

    counting(part)


# The end.


def test_finishing(counting):
    """A worker that is told to stop shows it, and does then what it would have done."""

    def part(figures):
        told = []
        worker = Worker(Config())
        worker.handle_exit = lambda sig, frame: told.append(sig)
        taken = []
        mine = SimpleNamespace(take_over=lambda *args: taken.append(args) or True)
        state.process.arbiter = SimpleNamespace(worker_side={worker: mine}.get)
        hooks.post_fork(None, worker)
        assert taken == [(1, 1)]
        assert (state.process.arbiter, state.process.worker) == (None, mine)
        worker.handle_exit(signal.SIGTERM, None)
        assert told == [signal.SIGTERM]

    counting(part)


def ending(nr=0, booted=True):
    return SimpleNamespace(nr=nr, max_requests=3, booted=booted)


@pytest.mark.parametrize(
    ("worker", "error", "cause"),
    [
        (ending(), None, exits.GRACEFUL),
        (ending(), SystemExit(), exits.GRACEFUL),
        (ending(), SystemExit(0), exits.GRACEFUL),
        (ending(nr=2), SystemExit(0), exits.GRACEFUL),
        (ending(nr=3), SystemExit(0), exits.MAX_REQUESTS),
        (ending(nr=3), SystemExit(1), exits.FAILED),
        (ending(), SystemExit(-1), exits.FAILED),
        (ending(), SystemExit("so"), exits.FAILED),
        (ending(), KeyboardInterrupt(), exits.FAILED),
        (ending(booted=False), SystemExit(-1), exits.BOOT_FAILURE),
        (ending(booted=False), SystemExit(0), exits.GRACEFUL),
        (ending(), SystemExit(Arbiter.WORKER_BOOT_ERROR), exits.BOOT_FAILURE),
        (ending(), SystemExit(Arbiter.APP_LOAD_ERROR), exits.BOOT_FAILURE),
    ],
)
def test_what_a_worker_says_of_its_end(worker, error, cause):
    """By how its process is about to exit. The asgi workers boot on when they say they have, and
    then exit as one that has not."""
    assert worker_hooks._cause(worker, error) == cause


def test_an_aborted_worker_leaves_it_to_the_arbiter(monkeypatch):
    """Only the arbiter knows whether the SIGABRT was its own."""
    monkeypatch.setattr(state.process, "aborted", True)
    assert worker_hooks._cause(ending(), SystemExit(1)) is None
