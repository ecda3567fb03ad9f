"""Snapshots: what becomes of a scoreboard's reading and of the kernel's figures.

The kernel is a stand-in here; test_listeners.py asks the real one.
"""

import dataclasses
import functools
import json
import logging
import mmap
import os
import socket
import struct
import time

import pytest
from gunicorn.config import Config
from gunicorn.sock import TCPSocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gunicorn_raindrops import reported
from gunicorn_raindrops import sampler as sampler_module
from gunicorn_raindrops.exporters import json as render
from gunicorn_raindrops.exporters import text
from gunicorn_raindrops.listeners import ListenStats
from gunicorn_raindrops.listeners.addresses import name_of
from gunicorn_raindrops.sampler import Sampler
from gunicorn_raindrops.scoreboard import board as scoreboard
from gunicorn_raindrops.scoreboard import layout as board_file
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.records import Marks, Reading, SlotRecord
from gunicorn_raindrops.snapshot import Arbiter, Snapshot, Worker

from .bounds import WAIT
from .schema import parsed

ARBITER = Arbiter(1, "27.0", "0.1", "sync", started=time.monotonic() - 100)


def row(slot=0, state=scoreboard.READY, calling=0, writing=0, capacity=1, **other):
    figures = {"pid": 100 + slot, "age": 1, "started": time.monotonic() - 5}
    figures |= {"requests": 0, "websockets": 0}
    figures.update(other)
    return SlotRecord(
        slot=slot, state=state, calling=calling, writing=writing, capacity=capacity, **figures
    )


class Board:
    """A scoreboard that says what it is told to."""

    def __init__(self, *rows, slots=4, queued=0, waiting=None):
        self.rows = rows
        self.queued = queued
        self.waiting = waiting
        self.slots = slots

    def read(self):
        return Reading(self.slots, 2, 50, (1, 2, 3, 4, 5), 6, self.rows)

    def marks(self, seconds, reading=None):
        return Marks(int(seconds), 1, self.queued, self.waiting)


class Kernel:
    """A kernel that says what it is told to, and remembers what it was asked."""

    def __init__(self):
        self.stats = {}
        self.asked = []
        self.error = None
        self.seconds = 0.0

    def ask(self, names, sock=None, *, active=True):
        assert not isinstance(names, str)
        self.asked.append((list(names), active))
        if self.error:
            raise self.error
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            pass
        zero = ListenStats(0, 0, 0, 0)
        found = {name: self.stats.get(name, zero) for name in names}
        if active:
            return found
        return {name: ListenStats(None, *stat[1:]) for name, stat in found.items()}


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(reported.kernel, "tcp_listener_stats", kernel.ask)
    monkeypatch.setattr(reported.kernel, "unix_listener_stats", kernel.ask)
    return kernel


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def sampler(board, sockets=(), others=(), warn=pytest.fail):
    return Sampler(board, ARBITER, list(sockets), tuple(others), warn)


# High-water marks.


def test_marks(kernel, listener):
    """Each window's mark includes what waits now, which the scoreboard may not know yet; a window
    that the reader asks for ends now."""
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    kernel.stats = {name: ListenStats(0, 7, 64, 0)}
    assert sampler(Board(queued=3), [listener]).take().marks["10s"] == Marks(10, 1, 7)
    assert sampler(Board(queued=9), [listener]).take().marks["60s"] == Marks(60, 1, 9)
    taken = sampler(Board(), [listener], ["/run/nginx.sock"]).take(time.time() - 30.5)
    assert taken.marks["since"] == Marks(30, 1, 7)
    assert set(taken.marks) == {"10s", "60s", "since"}


def test_a_mark_of_who_waits(kernel, listener):
    """It includes what waits now; where nobody knows that, the mark is unknown."""
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    kernel.stats = {name: ListenStats(9, 7, 64, 0, waiting=5, bodies=0)}
    assert sampler(Board(waiting=3), [listener]).take().marks["10s"] == Marks(10, 1, 7, 5)
    assert sampler(Board(waiting=8), [listener]).take().marks["10s"] == Marks(10, 1, 7, 8)
    kernel.stats = {name: ListenStats(9, 7, 64, 0)}
    assert sampler(Board(waiting=8), [listener]).take().marks["10s"] == Marks(10, 1, 7, None)


def test_who_waits_is_marked(kernel, listener):
    """A worker marks it each second, unless counting takes more than a hundredth of the time."""
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    kernel.stats = {name: ListenStats(9, 7, 64, 0, waiting=5, bodies=0)}
    board = Scoreboard(1)
    sampling = sampler(board, [listener])
    taken = sampler_module.marking(sampling, board)()
    assert (taken.waiting, board.marks(10).waiting) == (5, 5)
    kernel.stats = {name: ListenStats(9, 8, 64, 0, waiting=6, bodies=0)}
    sampler_module.mark(sampler(Board(), [listener]), board)
    assert (board.marks(10).queued, board.marks(10).waiting) == (8, 6)
    kernel.seconds = 0.05
    slow = sampler(Board(), [listener])
    assert (slow.waiting(), slow.waiting()) == (6, None)
    board.forget_file()


def test_queued(kernel, listener):
    """What waits at the server's own listeners is their sum; a worker marks it."""
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    kernel.stats = {name: ListenStats(0, 7, 64, 0), "/run/nginx.sock": ListenStats(0, 100, 128, 0)}
    board = Scoreboard(1)
    sampling = sampler(board, [listener], ["/run/nginx.sock"])
    assert (sampling.queued(), kernel.asked[-1]) == (7, ([name], False))
    assert sampling.take().queued == 7
    assert board.marks(10).queued == 0
    taken = sampler_module.marking(sampling, board)()
    assert (taken.queued, board.marks(10).queued) == (7, 7)
    board.forget_file()


def test_the_start(kernel):
    """In Unix time, and the same in each snapshot, of whichever worker: no clock is read for it."""
    board = Board()
    first, second = sampler(board).take(), sampler(board).take()
    started = time.time() - (time.monotonic() - ARBITER.started)
    assert first.started == second.started == pytest.approx(started, abs=1)
    assert first.time - first.uptime == pytest.approx(first.started, abs=1)


# From the scoreboard to the snapshot.


def names(record):
    return {field.name for field in dataclasses.fields(record)}


def test_no_figure_is_lost():
    """What the scoreboard tells is in the snapshot under the same name, but for what the sampler
    works out of it. A figure that is added below is missed here until it is added above."""
    assert names(Reading) - names(Snapshot) == {"slots", "rows", "workers_wanted"}
    assert names(SlotRecord) - names(Worker) == {"capacity", "is_local"}


# Workers.


@pytest.mark.parametrize(
    ("row", "state", "letter"),
    [
        (row(state=scoreboard.CLAIMED), "starting", "S"),
        (row(state=scoreboard.STARTING), "starting", "S"),
        (row(), "idle", "_"),
        (row(calling=1), "calling", "C"),
        (row(writing=1), "writing", "W"),
        (row(reading=1), "reading", "R"),
        (row(reading=0), "idle", "_"),
        (row(writing=1, reading=3), "writing", "W"),
        (row(calling=1, writing=3, reading=3), "calling", "C"),
        (row(state=scoreboard.STARTING, reading=1), "starting", "S"),
        (row(state=scoreboard.FINISHING, calling=1), "finishing", "G"),
        (row(state=scoreboard.FINISHING, reading=1), "finishing", "G"),
        (row(state=7), "starting", "S"),
    ],
)
def test_states(row, state, letter):
    """A worker's state and its letter on the scoreboard."""
    taken = sampler(Board(row)).take()
    assert taken.workers[0].state == state
    assert taken.scoreboard == letter + "..."


def test_scoreboard():
    """One character a slot, a dot for a free one."""
    board = Board(row(1, calling=1), row(3, writing=1), row(4), slots=6)
    assert sampler(board).take().scoreboard == ".C.W_."


def test_sums():
    """In flight are the requests of all workers; capacity is that of those that take requests."""
    board = Board(
        row(0, calling=2, writing=1, capacity=4),
        row(1, writing=2, capacity=4),
        row(2, state=scoreboard.STARTING, capacity=4),
        row(3, state=scoreboard.FINISHING, calling=1, capacity=4),
    )
    taken = sampler(board).take()
    responses = {"1xx": 1, "2xx": 2, "3xx": 3, "4xx": 4, "5xx": 5}
    assert (taken.calling, taken.writing, taken.capacity) == (3, 3, 8)
    assert (taken.requests, taken.responses, taken.errors) == (50, responses, 6)
    assert taken.untracked == 2
    assert taken.utilization == taken.saturation == 6 / 8


def test_what_threads_hold(kernel, listener):
    """A connection that holds a thread is inside as a request is; workers whose connections hold
    none are left out, and where there are no others, nothing is known."""
    board = Board(
        row(0, reading=1, capacity=2),
        row(1, calling=1, reading=0, capacity=2),
        row(2, state=scoreboard.STARTING),
    )
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    kernel.stats = {name: ListenStats(2, 3, 64, 0, waiting=0)}
    taken = sampler(board, [listener]).take()
    assert (taken.reading, taken.utilization, taken.saturation) == (1, 2 / 4, 5 / 4)
    assert [worker.reading for worker in taken.workers] == [1, 0, None]
    taken = sampler(Board(row(calling=1))).take()
    assert (taken.reading, taken.utilization, taken.saturation) == (None, 1, 1)


def test_times():
    """Instants are Unix time, durations seconds."""
    taken = sampler(Board(row(started=time.monotonic() - 5))).take()
    assert abs(taken.time - time.time()) < 1
    assert 0 <= taken.uptime - (time.monotonic() - ARBITER.started) + 1 <= 1
    assert abs(taken.time - 5 - taken.workers[0].started) < 1


def test_a_start_that_is_to_come():
    """A reader from outside may know the start from the scoreboard alone, where anything stands."""
    arbiter = dataclasses.replace(ARBITER, started=time.monotonic() + 2**63)
    taken = Sampler(Board(), arbiter, [], (), pytest.fail).take()
    assert parsed(render.encode(taken))["uptime"] == 0


def test_no_worker():
    """Nothing is known of the use of nothing."""
    taken = sampler(Board()).take()
    assert (taken.utilization, taken.saturation, taken.capacity) == (None, None, 0)
    assert (taken.workers, taken.scoreboard) == ((), "....")


# Listeners.


def test_listeners(kernel, listener, tmp_path):
    """The server's own first, then the others, each once, each with the kernel's figures."""
    port = listener.getsockname()[1]
    path = str(tmp_path / "x")
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as abstract:
        unix.bind(path)
        abstract.bind(b"\0gunicorn-raindrops-" + os.urandom(4).hex().encode())
        name = name_of(socket.AF_UNIX, abstract.getsockname())
        kernel.stats = {
            f"127.0.0.1:{port}": ListenStats(1, 2, 3, 4),
            path: ListenStats(5, 6, 7, None),
            "/run/nginx.sock": ListenStats(8, 9, 10, None),
        }
        others = ("[::1]:80", "/run/nginx.sock", path)
        taken = sampler(Board(row()), [listener, unix, abstract], others).take()
    assert [
        (one.address, one.family, one.own, one.active, one.queued, one.backlog, one.dropped)
        for one in taken.listeners
    ] == [
        (f"127.0.0.1:{port}", "inet", True, 1, 2, 3, 4),
        (path, "unix", True, 5, 6, 7, None),
        (name, "unix", True, 0, 0, 0, 0),
        ("[::1]:80", "inet6", False, 0, 0, 0, 0),
        ("/run/nginx.sock", "unix", False, 8, 9, 10, None),
    ]
    assert taken.saturation == 8


def test_who_waits(kernel, listener, tmp_path):
    """It is part of the saturation. No listener of the server has more than all; what waits at
    others' is not the server's."""
    name, path = f"127.0.0.1:{listener.getsockname()[1]}", str(tmp_path / "x")
    kernel.stats = {
        name: ListenStats(8, 1, 64, 0, waiting=6, bodies=0),
        path: ListenStats(1, 0, 64, None, waiting=1, bodies=0),
        "/run/nginx.sock": ListenStats(9, 9, 64, None, waiting=9, bodies=0),
    }
    board = Board(row(calling=4, capacity=4))
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        taken = sampler(board, [listener, unix], ["/run/nginx.sock"]).take()
        kernel.stats[path] = ListenStats(1, 0, 64, None)
        unknown = sampler(board, [listener, unix]).take()
    assert (taken.waiting, taken.saturation) == (5, (4 + 5 + 1) / 4)
    assert [one.waiting for one in taken.listeners] == [5, 1, 9]
    assert (unknown.waiting, unknown.saturation) == (None, (4 + 1) / 4)


def test_drops_of_a_listener_that_defers(listener):
    """The kernel counts each connection that it puts off among the drops: these are not known."""
    deferring = functools.partial(listener.setsockopt, socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT)
    taking = sampler(Board(row()), [listener])
    assert taking.take().listeners[0].dropped == 0
    deferring(1)
    with socket.create_connection(listener.getsockname()):
        assert taking.take().listeners[0].dropped is None
    deferring(0)
    assert taking.take().listeners[0].dropped >= 1


@pytest.mark.parametrize("netlink", ["with netlink", "without"])
def test_a_listener_that_gunicorn_has_closed(kernel, netlink):
    """A worker that ends still answers; gunicorn has taken the socket out of its wrapper."""
    sock = TCPSocket(("127.0.0.1", 0), Config(), logging.getLogger(__name__))
    taking = sampler(Board(row()), [sock], warn=[].append)
    sock.close()
    if netlink == "without":
        kernel.error = PermissionError(1, "no netlink here")
    assert taking.take().listeners[0].own


def test_no_listeners(kernel):
    """The kernel is not asked."""
    assert sampler(Board()).take().listeners == ()
    assert kernel.asked == []


def test_a_unix_listener_with_a_colon(kernel, tmp_path, monkeypatch):
    """A listener's family is its socket's, whatever its relative path looks like."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("app:80")
        taken = sampler(Board(row()), [unix]).take()
    assert [(one.address, one.family) for one in taken.listeners] == [("app:80", "unix")]


def test_queues_are_asked_anew_and_connections_at_intervals(kernel, listener):
    """Each snapshot asks for the queues; the costly count of connections serves for ten times as
    long as it took, a tenth of a second at most."""
    name = f"127.0.0.1:{listener.getsockname()[1]}"
    kernel.seconds = 0.02
    taking = sampler(Board(row()), [listener])
    kernel.stats = {name: ListenStats(1, 1, 64, 0)}
    first = taking.take()
    counted = time.monotonic()
    kernel.stats = {name: ListenStats(9, 5, 64, 3)}
    kernel.seconds = 0
    second = taking.take()
    if time.monotonic() - counted < 0.1:
        assert (second.listeners[0].active, second.listeners[0].queued) == (1, 5)
        assert kernel.asked[-1] == ([name], False)
    assert second.listeners[0].dropped == 3
    while taking.take().listeners[0].active != 9:
        assert time.monotonic() - counted < WAIT, "the count of connections stays old"
    assert first.listeners[0].active == 1
    assert kernel.asked[0] == ([name], True)


def test_without_netlink(kernel, listener):
    """The server's own listeners tell their queues by descriptor; what cannot be told is None,
    and it is warned of."""
    warnings = []
    kernel.error = PermissionError(1, "no netlink here")
    client = socket.create_connection(listener.getsockname())
    with client:
        taking = sampler(Board(row()), [listener], ("127.0.0.1:1", "/run/x.sock"), warnings.append)
        taken = taking.take()
    own, other, unix = taken.listeners
    assert (own.active, own.queued, other.queued, unix.queued) == (None, 1, None, None)
    assert own.backlog > 0
    assert (other.active, other.backlog, other.dropped) == (None, None, None)
    assert (own.waiting, taken.waiting) == (None, None)
    assert taken.saturation == 1
    assert {line for line in warnings if "no netlink here" in line} == set(warnings) != set()


def test_unknown_queue(kernel, tmp_path):
    """When the own listener's queue is unknown, so is the saturation."""
    kernel.error = OSError("no")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "x"))
        unix.listen()
        taken = sampler(Board(row(calling=1)), [unix], warn=lambda line: None).take()
    assert taken.listeners[0].queued is None
    assert (taken.utilization, taken.saturation) == (1, None)


def test_foreign_queues_do_not_saturate(kernel, listener):
    """Only the server's own connections wait for its workers."""
    kernel.stats = {"/run/nginx.sock": ListenStats(0, 100, 128, None)}
    taken = sampler(Board(row()), [listener], ["/run/nginx.sock"]).take()
    assert taken.saturation == 0


def test_a_worker_to_come():
    """Nothing of it is known yet but that it comes."""
    (worker,) = sampler(Board(row(state=scoreboard.CLAIMED))).take().workers
    assert (worker.state, worker.age, worker.started) == ("starting", None, None)


# All the way through.


@pytest.fixture
def pages():
    board = Scoreboard(3)
    with mmap.mmap(board.fileno(), 0) as pages:
        yield board, pages
    board.forget_file()


SCRIBBLE = st.lists(st.integers(0, 2**64 - 1), min_size=16, max_size=16)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(scribble=st.lists(SCRIBBLE, min_size=3, max_size=3))
def test_scribbled_pages(pages, scribble):
    """Whatever stands in the slots of a living owner, the status can be told."""
    board, memory = pages
    claim = board.claim()
    for slot in range(3):
        size = (len(memory) - board_file.HEADER_SIZE) // 3
        words = scribble[slot]
        at = board_file.HEADER_SIZE + slot * size
        struct.pack_into("=15Q", memory, at + 8, *words[1:])
        if slot != claim.slot:
            struct.pack_into("=Q", memory, at, words[0])
    taken = sampler(board).take()
    assert len(taken.scoreboard) == 3
    assert os.getpid() in [worker.pid for worker in taken.workers]
    json.loads(render.encode(taken), parse_constant=pytest.fail)
    text.encode(taken)
    board.release(claim)
