"""The scoreboard's file: whatever happens to it, no worker and no request is lost."""

import contextlib
import os
import signal
import struct
import sys
import threading
from urllib.parse import urlencode

import pytest

from gunicorn_raindrops.scoreboard import layout

from ..processes import alive
from .classes import CLASSES
from .servers import eventually

TICKS = 1.5  # seconds: each worker's status thread has touched its slot


def same(server, before):
    """Check that the workers are those of before, and serve."""
    assert set(server.workers()) == before
    assert {server.get("/pid")[0] for _ in range(20)} == {200}
    assert set(server.workers()) == before, "\n".join(server.log)


@pytest.mark.parametrize("left", [0, 5000])
@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_cut_short_while_idle(serve, gunicorn, tmp_path, gate, kind, left):
    """The status threads touch it first. Requests in flight get their answers."""
    CLASSES[kind].available(gunicorn)
    file = tmp_path / "board"
    args = ("--workers", "2", *CLASSES[kind].args, *CLASSES[kind].room)
    with serve(*args, gunicorn=gunicorn, env={"RAINDROPS_FILE": str(file)}) as server:
        server.ready(2)
        before = set(server.workers())
        held = gate.hold(server.address)
        os.truncate(file, left)
        threading.Event().wait(TICKS)
        for _ in range(4):
            server.ask()
        assert held.release()
        same(server, before)


def test_cut_short_before_a_hup(serve, gunicorn, tmp_path):
    """The arbiter is the first to touch it: one warning, and nothing of the reload is left out."""
    file = tmp_path / "board"
    with serve("--workers", "1", gunicorn=gunicorn, env={"RAINDROPS_FILE": str(file)}) as server:
        server.ready(1)
        (before,) = server.workers()
        os.truncate(file, 0)
        os.kill(server.pid, signal.SIGHUP)
        server.logged(r"file: .* was cut short while in use; counting in memory")
        eventually(lambda: not alive(before), "the end of the old worker")
        server.ready(1)
        assert "failed" not in "\n".join(server.log)


def enable(server, **query):
    """Have a worker enable faulthandler; returns its pid and the handler that is in front."""
    pid, handler = server.get("/faulthandler?" + urlencode(query))[1].decode().split()
    return int(pid), handler


def is_guarded(server, workers, theirs):
    """Tell whether each worker's guard is in front of the handler again."""
    fronts = dict(enable(server) for _ in range(20))
    return fronts.keys() == workers and theirs not in fronts.values()


@pytest.mark.parametrize("is_back", [False, True])
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_cut_short_behind_another_handler(serve, gunicorn, tmp_path, kind, is_back):
    """An application that calls faulthandler.enable() puts a handler in front of the guard, which
    is back at the next tick."""
    file = tmp_path / "board"
    args = ("--workers", "2", *CLASSES[kind].args, *CLASSES[kind].room)
    with serve(*args, gunicorn=gunicorn, env={"RAINDROPS_FILE": str(file)}) as server:
        server.ready(2)
        before = set(server.workers())
        first, theirs = enable(server)
        if is_back:
            eventually(lambda: is_guarded(server, before, theirs), "the guards")
            os.truncate(file, 0)
        else:
            eventually(lambda: enable(server, cut=file, unless=first)[0] != first, "the other one")
        assert {server.get("/pid")[0] for _ in range(20)} == {200}
        threading.Event().wait(TICKS)
        same(server, before)
        # the other handler's line is several writes, and each worker may write one
        assert ("Bus error" in "\n".join(server.log)) == (not is_back)


def plant(path, kind):
    """Make what somebody else may have put in the file's place."""
    other = path.with_name("other")
    if kind == "dangling":
        path.symlink_to(other)
        return
    other.write_bytes(b"")
    if kind == "symlink":
        path.symlink_to(other)
    elif kind == "hardlink":
        path.hardlink_to(other)
    else:
        path.write_bytes(b"")
        os.chown(path, 12345, -1) if kind == "foreign" else path.chmod(0o666)


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hardlink", "foreign", "writable"])
def test_files_of_strangers(serve, gunicorn, tmp_path, kind):
    """One warning, nothing written anywhere, counting in memory."""
    if kind == "foreign" and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    path = tmp_path / "board"
    plant(path, kind)
    env = {"RAINDROPS_FILE": str(path)}
    with serve("--workers", "1", gunicorn=gunicorn, env=env) as server:
        server.ready(1)
        server.get("/")
        eventually(lambda: server.status()["requests"] == 1, "counted")
        (warning,) = server.warnings()
        assert str(path) in warning
        assert "counting in memory" in warning
    assert path.exists() == (kind != "dangling")
    assert kind == "dangling" or path.stat().st_size == 0


@pytest.mark.parametrize("begun", [b"", bytes(8) + layout.VERSION.to_bytes(4, sys.byteorder)])
def test_a_file_not_yet_begun(serve, gunicorn, tmp_path, begun):
    """A server was killed while it made the file: the next one begins it."""
    path = tmp_path / "board"
    path.write_bytes(begun + bytes(layout.length_of(1024) - len(begun)))
    env = {"RAINDROPS_FILE": str(path)}
    for requests in (1, 2):
        with serve("--workers", "1", gunicorn=gunicorn, env=env) as server:
            server.ready(1)
            server.get("/")
            eventually(lambda: server.status()["requests"] == requests, "counted")  # noqa: B023
            assert server.warnings() == []


def test_a_header_that_claims_too_much(serve, gunicorn, tmp_path):
    """It is no scoreboard of ours, whatever the file's length."""
    path = tmp_path / "board"
    head = struct.pack(
        "=8sIIII", layout.MAGIC, layout.VERSION, layout.HEADER_SIZE, layout.SLOT_SIZE, 200_000
    )
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(layout.length_of(200_000))
    env = {"RAINDROPS_FILE": str(path)}
    with serve("--workers", "1", gunicorn=gunicorn, env=env) as server:
        status = server.ready(1)
        assert len(status["scoreboard"]) == 1024
        (warning,) = server.warnings()
        assert "200000 slots" in warning


HELPER = """
import multiprocessing, os, time

def help():
    os.setsid()
    os.closerange(0, 3)
    with open({file!r}, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)
    os._exit(0)

def {hook}(server):
    {how}

import gunicorn_raindrops
gunicorn_raindrops.hooks.install(globals())
"""
HOWS = {
    "fork": "os.fork() or help()",
    "multiprocessing": "multiprocessing.get_context('fork').Process(target=help).start()",
}


@contextlib.contextmanager
def helper(file):
    """A helper that the server's conf forks lives until here."""
    try:
        yield
        assert alive(int(file.read_text()))
    finally:
        if file.exists():
            os.kill(int(file.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("hook", ["on_starting", "when_ready"])
def test_what_the_server_forks_keeps_no_lock(serve, gunicorn, tmp_path, how, hook):
    """A helper that outlives a killed server does not keep the next one from its file."""
    file, env = tmp_path / "helper", {"RAINDROPS_FILE": str(tmp_path / "board")}
    conf = HELPER.format(file=str(file), hook=hook, how=HOWS[how])
    with helper(file):
        with serve("--workers", "1", gunicorn=gunicorn, env=env, conf=conf) as server:
            server.ready(1)
            server.get("/")
            eventually(lambda: server.status()["requests"] == 1, "counted")
            eventually(file.exists, "the helper")
            server.kill()
        with serve("--workers", "1", gunicorn=gunicorn, env=env) as server:
            assert server.ready(1)["requests"] == 1
            assert server.warnings() == []


def test_the_lock_goes_with_an_upgrade(serve, gunicorn, tmp_path):
    """The second generation has the file to itself when the first has ended, and leaves it."""
    env = {"RAINDROPS_FILE": str(tmp_path / "board")}
    with serve("--workers", "1", gunicorn=gunicorn, env=env) as server:
        server.ready(1)
        server.get("/")
        server.upgrade(1)
        server.end(server.process.pid)
        with serve("--workers", "1", gunicorn=gunicorn, env=env) as other:
            assert other.ready(1)["requests"] == 0
            assert len(other.warnings()) == 1
    with serve("--workers", "1", gunicorn=gunicorn, env=env) as server:
        assert server.ready(1)["requests"] == 1
