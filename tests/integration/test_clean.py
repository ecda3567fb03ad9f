"""Clean: a life of signals leaves no thread, descriptor or process more than before."""

import collections
import os
import signal
import threading
from pathlib import Path

from ..bounds import WAIT
from .servers import eventually

OURS = {"/memfd:gunicorn-raindrops (deleted)": 1, "socket": 1}


def descriptors(pid):
    """Count a process's descriptors by what they are."""
    kinds = collections.Counter()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kind = str(fd.readlink())
        except FileNotFoundError:
            continue  # it was just being closed
        # each worker's temporary file has a name of its own
        kind = "worker tmp" if "/wgunicorn-" in kind else kind.partition(":[")[0]
        kinds[kind] += 1
    return kinds


def at_rest(pid):
    """Return a process's descriptors when they and its threads have not changed for a while: a
    connection that its client has closed is closed there a moment later."""
    seen = [(descriptors(pid), threads(pid))]

    def unchanged():
        threading.Event().wait(0.02)
        seen.append((descriptors(pid), threads(pid)))
        return len(seen) > 10 and all(one == seen[-1] for one in seen[-10:])

    eventually(unchanged, "descriptors and threads at rest")
    return seen[-1][0]


def threads(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def live(server):
    """HUP, TTIN, TTOU, HUP; returns the arbiter's threads and descriptors after each."""
    seen = []

    def settle(workers):
        eventually(lambda: len(server.workers()) == workers, f"{workers} workers")
        # the arbiter closes a worker's file when it reaps it
        eventually(lambda: descriptors(server.pid)["worker tmp"] == workers, "all reaped")

    def act(number, workers):
        before = set(server.workers())
        os.kill(server.pid, number)
        if number == signal.SIGHUP:
            eventually(lambda: not before & set(server.workers()), "all workers new")
        settle(workers)
        at_rest(server.pid)  # gunicorn's control thread stops for a fork
        seen.append((threads(server.pid), len(server.workers())))

    settle(2)
    eventually(lambda: server.get("/")[0] == 200, "serving")
    for number, workers in [
        (signal.SIGHUP, 2),
        (signal.SIGTTIN, 3),
        (signal.SIGTTOU, 2),
        (signal.SIGHUP, 2),
    ]:
        act(number, workers)
    return seen, descriptors(server.pid)


def test_arbiter(serve, gunicorn):
    """Beside a bare gunicorn's, our arbiter has a memfd and the status listener, nothing more."""
    args = ["--workers", "2"]
    with serve(*args, gunicorn=gunicorn, conf=None) as server:
        bare, bare_descriptors = live(server)
    with serve(*args, gunicorn=gunicorn) as server:
        server.ready(2)
        ours, our_descriptors = live(server)
        assert server.ready(2)["calling"] == 0
    assert ours == bare
    assert our_descriptors - bare_descriptors == OURS
    assert not bare_descriptors - our_descriptors


def test_worker(serve, gunicorn):
    """A worker has one thread more, the status listener, and what tells of the arbiter's end; not
    the scoreboard's descriptor."""
    with serve("--workers", "1", gunicorn=gunicorn, conf=None) as server:
        eventually(server.workers, "a worker")
        assert server.get("/")[0] == 200
        (pid,) = server.workers()
        bare = threads(pid), at_rest(pid)
    with serve("--workers", "1", gunicorn=gunicorn) as server:
        server.ready(1)
        assert server.get("/")[0] == 200
        (pid,) = server.workers()
        for _ in range(50):
            server.text()
        assert at_rest(pid) - bare[1] == {"socket": 1, "anon_inode": 1}
        assert threads(pid) == bare[0] + 1


def test_status_socket_in_the_file_system(serve, tmp_path):
    """A unix status address is removed when the server stops, and a stale one is replaced."""
    path = tmp_path / "status.sock"
    for how in (signal.SIGKILL, signal.SIGTERM):
        with serve("--workers", "1", env={"RAINDROPS_BIND": f"unix:{path}"}) as server:
            server.logged(f"status at unix:{path}")
            eventually(server.workers, "a worker")
            assert path.is_socket()
            assert server.warnings() == []
            if how == signal.SIGKILL:
                os.killpg(server.pid, how)
            else:
                os.kill(server.pid, how)
            server.process.wait(WAIT)
        assert path.exists() is (how == signal.SIGKILL)
