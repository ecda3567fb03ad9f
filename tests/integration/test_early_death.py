"""Workers that die before their arbiter has registered them.

gunicorn < 24 reaps in its SIGCHLD handler. It loses a worker that is reaped between fork(2) and
the arbiter's `WORKERS[pid] = worker`: `child_exit` is not called, the dead worker is registered
after all, and no other takes its place. Such a worker never had a heartbeat, so no timeout ends
this either: its file still has a time of the wall clock, which lies far ahead of the monotonic one.
From 24 on the arbiter reaps in its main loop, where every worker that it has forked is registered.
"""

import os
import signal

import pytest

from .servers import eventually

EARLY = """
import contextlib, os
fork, dies = os.fork, False

def fork_and_wait():
    # Where the file is there, do not come back to the arbiter before the worker is dead.
    global dies
    dies = os.path.exists({flag!r})
    pid = fork()
    if dies and pid:
        with contextlib.suppress(ChildProcessError):  # reaped by a handler that came even earlier
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.unlink({flag!r})
    elif dies and {moment!r} == "at once":
        os._exit(0)
    return pid

def post_fork(server, worker):
    # Our own post_fork has come before this one, and taken over the slot.
    if dies:
        os._exit(0)

os.fork = fork_and_wait
import gunicorn_raindrops
gunicorn_raindrops.hooks.install(globals())
"""


@pytest.mark.parametrize("moment", ["at once", "with a slot"])
def test_a_worker_dies_before_it_is_registered(serve, gunicorn, tmp_path, moment):
    """Its slot is free again: at once where gunicorn replaces it, else with the next fork."""
    flag = tmp_path / "the next worker dies"
    conf = EARLY.format(flag=str(flag), moment=moment)
    with serve("--workers", "2", gunicorn=gunicorn, conf=conf) as server:
        first, second = server.ready(2)["workers"]
        flag.touch()
        os.kill(first["pid"], signal.SIGKILL)
        eventually(lambda: not flag.exists(), "the fork of one that dies")
        if gunicorn == "23":
            eventually(lambda: server.workers() == [second["pid"]], "nobody in its place")
            server.send(signal.SIGTTIN)
        status = eventually(lambda: is_whole(server), "two workers, each in its slot")
        assert [worker["slot"] for worker in status["workers"]] == [0, 1]
        assert status["exits"]["killed"] == 2
        assert (status["capacity"], status["untracked"]) == (2, 0)
        assert server.warnings() == []


def is_whole(server):
    """Return the status where it shows two workers that serve, and no slot that nobody has."""
    status = server.status()
    shown = {worker["pid"]: worker["state"] for worker in status["workers"]}
    return shown == dict.fromkeys(server.workers(), "idle") and len(shown) == 2 and status
