"""The pusher: what it sends, where, and that no failure gets out; who leads."""

import contextlib
import dataclasses
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from gunicorn_raindrops.counting import attached
from gunicorn_raindrops.exporters.statsd import Pusher
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.snapshot import Listener, Snapshot, Worker
from gunicorn_raindrops.status.thread import StatusServer

from ..bounds import WAIT


def blank(kind):
    """Return a dataclass's fields, all of them unknown."""
    return dict.fromkeys(field.name for field in dataclasses.fields(kind))


def worker(slot, state, calling=0, writing=0):
    figures = {"slot": slot, "pid": 100 + slot, "state": state}
    return Worker(**{**blank(Worker), **figures, "calling": calling, "writing": writing})


def listener(address, queued):
    return Listener(address, "inet", True, 0, queued, 2048, 0)


def snapshot(**changes):
    states = ("calling", 2, 1), ("writing", 0, 1), ("reading",), ("idle",)
    workers = tuple(worker(slot, *state) for slot, state in enumerate(states))
    figures = {
        "calling": 2,
        "writing": 2,
        "untracked": 0,
        "saturation": 2.75,
        "workers": workers,
        "listeners": (listener("127.0.0.1:8000", 7),),
    }
    return Snapshot(**{**blank(Snapshot), **figures, **changes})


@pytest.fixture
def statsd():
    """A socket as statsd has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(WAIT)
        yield sock


def received(sock, number):
    return [sock.recv(1000).decode() for _ in range(number)]


_made = []


@pytest.fixture(autouse=True)
def all_closed():
    """No test leaves a socket."""
    yield
    while _made:
        _made.pop().close()


def make(target, prefix="", tags=""):
    warnings = []
    _made.append(Pusher(target, prefix, tags, warnings.append))
    return _made[-1], warnings


def lines(prefix="", tags="", **changes):
    return list(make("/nowhere", prefix, tags)[0].lines(snapshot(**changes)))


def test_the_gauges():
    assert lines() == [
        "gunicorn.busy_workers:3|g",
        "gunicorn.total_workers:4|g",
        "gunicorn.requests.in_flight:4|g",
        "gunicorn.saturation:2.75|g",
        "gunicorn.listener.queued.127_0_0_1_8000:7|g",
    ]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("[::1]:8000", "___1__8000"),
        ("/run/my app.sock", "_run_my_app_sock"),
        ("@a|b#c@d\n", "_a_b_c_d_"),
        ("/\udcff\u00e9", "___"),
    ],
)
def test_names_of_listeners(address, name):
    """Whatever statsd's grammar or graphite's tree would take for its own is replaced."""
    assert lines(listeners=(listener(address, 1),))[-1] == f"gunicorn.listener.queued.{name}:1|g"


@pytest.mark.parametrize("prefix", ["app", "app.", "app..", "a"])
def test_prefix(prefix):
    """A dot follows it, one, as gunicorn's documentation has it."""
    assert lines(prefix)[0] == prefix.rstrip(".") + ".gunicorn.busy_workers:3|g"


def test_tags():
    """With dogstatsd's tags a listener is one more, and its figure has one name for all."""
    found = lines(tags="env:prod,team:a", listeners=(listener("/run/a,b|c", 0),))
    assert found[0] == "gunicorn.busy_workers:3|g|#env:prod,team:a"
    assert found[-1] == "gunicorn.listener.queued:0|g|#env:prod,team:a,listener:/run/a_b_c"


def test_what_is_unknown():
    """A figure that this kernel cannot tell is left out; untracked workers are workers."""
    found = lines(untracked=2, saturation=None, listeners=(listener("127.0.0.1:8000", None),))
    assert found[1:] == ["gunicorn.total_workers:6|g", "gunicorn.requests.in_flight:4|g"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_udp(statsd, host):
    """All come from one socket, however often."""
    pusher, warnings = make((host, statsd.getsockname()[1]))
    for _ in range(2):
        pusher.push(snapshot)
    sources = {statsd.recvfrom(1000)[1] for _ in range(10)}
    assert len(sources) == 1
    assert warnings == []


def test_ipv6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        sock.settimeout(WAIT)
        pusher, _ = make(sock.getsockname()[:2])
        pusher.push(snapshot)
        assert received(sock, 5) == lines()


def test_a_unix_socket_that_comes_and_goes(tmp_path):
    """Warned of once; sent again as soon as somebody listens again."""
    path = str(tmp_path / "statsd.sock")
    pusher, warnings = make(path)
    for _ in range(2):
        pusher.push(snapshot)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(path)
            sock.settimeout(WAIT)
            pusher.push(snapshot)
            assert received(sock, 5) == lines()
        Path(path).unlink()
        pusher.push(snapshot)
    assert len(warnings) == 1
    assert path in warnings[0]


def test_a_full_socket_does_not_block(tmp_path):
    """What its queue (net.unix.max_dgram_qlen) does not take is lost."""
    path = str(tmp_path / "statsd.sock")
    pusher, warnings = make(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        pushing = threading.Thread(
            target=lambda: [pusher.push(snapshot) for _ in range(1000)], daemon=True
        )
        pushing.start()
        pushing.join(WAIT)
        assert not pushing.is_alive()
    assert len(warnings) == 1


def test_nobody_listens(statsd):
    """The kernel tells of it with the second datagram; one warning, however long."""
    target = statsd.getsockname()
    statsd.close()
    pusher, warnings = make(target)
    for _ in range(5):
        pusher.push(snapshot)
    assert len(warnings) == 1
    assert "refused" in warnings[0]


@pytest.mark.parametrize("target", [("nowhere.invalid", 8125), 3, ("\0", 1), "x" * 200])
def test_no_address(target):
    """Warned of once, and nothing else."""
    pusher, warnings = make(target)
    for _ in range(3):
        pusher.push(snapshot)
    assert len(warnings) == 1


def test_no_snapshot(statsd):
    """A snapshot that fails is a warning."""

    def take():
        raise OSError("the scoreboard is lost")

    pusher, warnings = make(statsd.getsockname())
    for _ in range(3):
        pusher.push(take)
    assert ["lost" in line for line in warnings] == [True]


def serving(board, pipe):
    """Fork a process that takes a slot and serves; returns its pid."""
    claim = board.claim()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            attached.take_over(board, claim, 1, 1)
            attached.ready()
            os.write(pipe, b"x")
            signal.pause()
        os._exit(1)
    return pid


def test_who_leads():
    """The lowest slot of those that serve and live; not a claimed one, nor a zombie's."""
    board = Scoreboard(8)
    read, write = os.pipe()
    board.claim()
    pids = [serving(board, write) for _ in range(3)]
    try:
        for _ in pids:
            assert os.read(read, 1)
        for leader in list(pids):
            assert [pid for pid in (os.getpid(), *pids) if board.leads(pid)] == [leader]
            os.kill(leader, signal.SIGKILL)
            os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
        assert not any(map(board.leads, pids))
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(read)
        os.close(write)
        board.forget_file()


def test_a_tick_without_a_status_address():
    """The thread needs no listener for it."""
    ticked = threading.Semaphore(0)

    def tick(late):
        ticked.release()

    pid = os.fork()
    if pid == 0:  # the thread stays until its process ends
        with contextlib.suppress(BaseException):
            StatusServer(None, None, print, os.getppid(), tick).start()
            os._exit(0 if all(ticked.acquire(timeout=WAIT) for _ in range(2)) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_tick_that_fails():
    """It is warned of, and tried again: a failure of memory is over the next time."""
    warned = threading.Semaphore(0)
    lines = []

    def warn(line):
        lines.append(line)
        warned.release()

    def tick(late):
        raise LookupError("broken")

    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            StatusServer(None, None, warn, os.getppid(), tick).start()
            twice = warned.acquire(timeout=WAIT) and warned.acquire(timeout=WAIT)
            expected = "what is due each second failed: LookupError: broken"
            os._exit(0 if twice and set(lines) == {expected} else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
