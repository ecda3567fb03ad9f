"""Requests on greenlets: each has a context of its own, as here.

Workers are stand-ins; the integration tests run real ones.
"""

import contextvars
import errno
from types import SimpleNamespace

import pytest

from gunicorn_raindrops.counting import attached
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.worker_classes.greenlets import Greenlets


@pytest.fixture
def counting(fork):
    """Return a function that runs a test's part in a child that has a slot; it gets `figures()`:
    calling, writing, requests, responses of 2xx, of 5xx, errors."""
    board = Scoreboard(1)

    def run(part):
        claim = board.claim()

        def child(link):
            def figures():
                reading = board.read()
                (row,) = reading.rows
                _, two, _, _, five = reading.responses
                return row.calling, row.writing, reading.requests, two, five, reading.errors

            assert attached.take_over(board, claim, 1, 1)
            part(figures)

        fork(child).check()

    yield run
    board.forget_file()


class Greenlet:
    """A context in which one request is handled, step by step."""

    def __init__(self, strategy, application=lambda environ, start_response: [b"x"]):
        self.strategy = strategy
        self.context = contextvars.Context()
        self.worker = SimpleNamespace(alive=True, wsgi=application)
        strategy.wrap(self.worker, None)
        self.req = SimpleNamespace(method="GET", path="/")

    def begin(self):
        self.context.run(self.strategy.begin, self.req)

    def call(self):
        return self.context.run(self.worker.wsgi, {}, None)

    def end(self, status="200 OK", sent=True, error=None):
        made = SimpleNamespace(
            status=status or None,
            headers_sent=sent,
            req=SimpleNamespace(version=(1, 1)),
            cfg=SimpleNamespace(is_ssl=False),
        )
        resp = None if status is None else made
        self.context.run(self.strategy.end, self.worker, resp, error)


def test_greenlets_interleave(counting):
    """Each request is in its own phase, and ends from there."""

    def part(figures):
        strategy = Greenlets()
        one, two = Greenlet(strategy), Greenlet(strategy)
        one.begin()
        two.begin()
        assert figures()[:2] == (2, 0)
        two.call()
        assert figures()[:2] == (1, 1)
        one.end("500", sent=False)
        assert figures()[:2] == (0, 1)
        one.begin()
        two.end()
        assert figures()[:3] == (1, 0, 2)
        one.call()
        one.end()
        one.end()
        assert figures() == (0, 0, 3, 2, 1, 0)

    counting(part)


def test_the_iterable_of_a_greenlet_is_untouched(counting):
    """What the application returned is what gunicorn gets: file wrappers still work."""

    def part(figures):
        iterable = object()
        greenlet = Greenlet(Greenlets(), lambda environ, start_response: iterable)
        greenlet.begin()
        assert greenlet.call() is iterable

    counting(part)


NONE = ""  # a response without a status, which is more than no response


def stopped(by):
    """Return the StopIteration with which gunicorn ends a connection, whatever broke it."""
    error = StopIteration()
    error.__context__ = by
    return error


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({}, (1, 1, 0, 0)),
        ({"error": stopped(None)}, (1, 1, 0, 0)),
        ({"error": stopped(ValueError("no"))}, (1, 1, 0, 1)),
        ({"error": ValueError("no"), "status": "200 OK", "sent": False}, (1, 0, 1, 1)),
        ({"error": OSError(errno.EPIPE, "gone")}, (1, 1, 0, 0)),
        ({"error": OSError(errno.EIO, "no")}, (1, 1, 0, 1)),
        ({"status": None}, (0, 0, 0, 0)),
        ({"status": NONE, "sent": False}, (1, 0, 0, 0)),
        ({"status": NONE, "sent": False, "error": stopped(None)}, (1, 0, 0, 0)),
        ({"status": NONE, "sent": False, "error": ValueError("no")}, (1, 0, 1, 1)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("alive", [True, False])
def test_ends_of_a_greenlets_request(counting, end, expected, alive):
    """A kept or closed connection is no error; what broke off a response is, unless the client
    went; a request that never came to the application is none."""

    def part(figures):
        greenlet = Greenlet(Greenlets())
        greenlet.worker.alive = alive
        greenlet.begin()
        greenlet.call()
        greenlet.end(**end)
        assert figures() == (0, 0, *expected)

    counting(part)


def test_a_begin_without_an_end(counting):
    """The next request on that greenlet takes its place: none stays in flight."""

    def part(figures):
        greenlet = Greenlet(Greenlets())
        greenlet.begin()
        greenlet.begin()
        assert figures()[:3] == (1, 0, 0)
        greenlet.end()
        assert figures()[:3] == (0, 0, 1)

    counting(part)
