"""The scoreboard's file: whatever happens to it, no worker and no request is lost."""

import os
import threading

import pytest

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
def test_cut_short_while_idle(serve, gunicorn, tmp_path, background, kind, left):
    """The status threads touch it first. Requests in flight get their answers."""
    CLASSES[kind].available(gunicorn)
    file = tmp_path / "board"
    args = ("--workers", "2", *CLASSES[kind].args, *CLASSES[kind].room)
    with serve(*args, gunicorn=gunicorn, env={"RAINDROPS_FILE": str(file)}) as server:
        server.ready(2)
        before = set(server.workers())
        background.add(server.get, f"/sleep?s={TICKS + 1}")
        eventually(lambda: server.status()["calling"] == 1, "a request in flight")
        os.truncate(file, left)
        threading.Event().wait(TICKS)
        for _ in range(4):
            server.ask()
        assert [code for code, _ in background.join()] == [200]
        same(server, before)


@pytest.mark.parametrize("wait", [0, TICKS])
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_cut_short_behind_another_handler(serve, gunicorn, tmp_path, kind, wait):
    """An application that calls faulthandler.enable() puts a handler in front of the guard."""
    file = tmp_path / "board"
    args = ("--workers", "2", *CLASSES[kind].args, *CLASSES[kind].room)
    with serve(*args, gunicorn=gunicorn, env={"RAINDROPS_FILE": str(file)}) as server:
        server.ready(2)
        before = set(server.workers())
        done = set()

        def enabled():
            done.add(int(server.get("/faulthandler")[1]))
            return done == before

        eventually(enabled, "faulthandler in both")
        threading.Event().wait(wait)
        os.truncate(file, 0)
        assert {server.get("/pid")[0] for _ in range(20)} == {200}
        threading.Event().wait(TICKS)
        same(server, before)
        assert ("Fatal Python error: Bus error" in server.log) == (wait == 0)
