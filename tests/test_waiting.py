"""How many requests wait inside: the rule, case by case."""

import pytest

from gunicorn_raindrops import waiting
from gunicorn_raindrops.scoreboard import board
from gunicorn_raindrops.scoreboard.records import SlotRecord
from gunicorn_raindrops.snapshot import Listener


def rows(*in_flight, capacity=2, websockets=0, reading=0, state=board.READY):
    """Return a worker for each number of requests in flight."""
    return [
        SlotRecord(i, 100 + i, state, 1, 0.0, capacity, 0, number, 0, websockets, reading)
        for i, number in enumerate(in_flight)
    ]


def listener(active, unread, bodies=0, own=True):
    return Listener("x", "unix", own, active, 0, 64, None, waiting=unread, bodies=bodies)


@pytest.mark.parametrize(
    ("active", "unread", "bodies", "workers", "expected"),
    [
        (10, 8, 0, rows(2), 8),  # two are served, eight wait
        (110, 8, 0, rows(2), 8),  # with a hundred idle ones beside them
        (2, 2, 0, rows(2), 0),  # two have sent a second request
        (10, 10, 2, rows(2), 8),  # two upload, eight wait
        (110, 10, 2, rows(2), 8),
        (10, 10, 10, rows(2), 8),  # all of them upload
        (110, 8, 8, rows(2), 6),  # eight wait, and their bodies are long: told wrong
        (110, 1, 0, rows(2), 1),  # one has sent a second request: told wrong
        (100, 0, 0, rows(0), 0),  # a hundred idle ones
        (150, 50, 50, rows(50, capacity=50), 0),  # fifty upload
        (150, 50, 0, rows(50, capacity=60), 0),  # there are threads free, so nobody waits
        (152, 52, 9, rows(50, capacity=60), 2),  # two more, read by no thread yet
        (3, 1, 0, rows(0), 1),
        (10, 6, 0, rows(2, 0), 6),  # behind the one that is full
        (1, 1, 0, rows(2), 0),  # of what was counted, all has been served since
        (9, 1, 0, [*rows(1), *rows(0, capacity=0, state=board.STARTING)], 0),
    ],
)
def test_gthread(active, unread, bodies, workers, expected):
    """Who waits is behind a full worker, and is not in flight."""
    assert waiting.count([listener(active, unread, bodies)], workers) == expected


@pytest.mark.parametrize(
    ("active", "unread", "reading", "expected"),
    [
        (6, 4, 2, 4),  # two slow heads, four behind them
        (3, 1, 1, 1),  # one calls, one is slow, and behind them is one
        (2, 1, 1, 0),  # one uploads, one is slow
        (2, 1, 0, 0),  # one uploads, and another is idle
    ],
)
def test_behind_a_slow_head(active, unread, reading, expected):
    """It holds a thread as a request does, and does not wait either."""
    workers = rows(1 if reading < 2 else 0, reading=reading)
    assert waiting.count([listener(active, unread)], workers) == expected


def test_a_loop():
    """Where a request holds no thread, a worker may block far below its capacity. A websocket's
    frames are no request."""
    workers = rows(1, capacity=1000, reading=None)
    assert waiting.count([listener(10, 9)], workers) == 9
    assert waiting.count([listener(10, 10)], workers) == 9
    workers = rows(5, capacity=1000, reading=None)
    assert waiting.count([listener(110, 9, 3)], workers) == 6
    workers = rows(1, capacity=1000, websockets=4, reading=None)
    assert waiting.count([listener(10, 9)], workers) == 5


def test_own_listeners():
    """They are added up; what is not known of one is not known of all."""
    foreign = listener(None, None, own=False)
    both = [listener(3, 2), foreign, listener(1, 1)]
    assert waiting.count(both, rows(1, capacity=1)) == 3
    assert waiting.count([*both, listener(None, None)], rows(1)) is None
    assert waiting.count([foreign], rows(1)) is None
