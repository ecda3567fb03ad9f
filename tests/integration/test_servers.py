"""Middleware and ASGIMiddleware under real servers that are not gunicorn.

Three ways to come to several processes: a server that forks after import (waitress and uvicorn
here, each in a small prefork of the tests' own; uWSGI), and servers that spawn their workers
(uvicorn --workers, hypercorn), whose middlewares share a file.
"""

import collections
import functools
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from gunicorn_raindrops.counting import slots

from ..bounds import WAIT
from ..processes import alive
from .servers import APPS, BROKEN, Server, connect, eventually
from .test_exact import Client

REQUESTS = 2000
CLIENTS = 6
BIN = Path(sys.executable).parent

PREFORK = [sys.executable, str(APPS / "prefork.py")]
COMMANDS = {
    "waitress": [*PREFORK, "waitress", "{fd}", "4"],
    "uvicorn-fork": [*PREFORK, "uvicorn", "{fd}", "4"],
    "uwsgi": [
        str(BIN / "uwsgi"), "--http-socket", "127.0.0.1:0", "--master", "--processes", "4",
        "--module", "counted_wsgi:app", "--die-on-term", "--worker-reload-mercy", "3",
        "--need-app", "--disable-logging",
    ],
    "uvicorn": [
        str(BIN / "uvicorn"), "--fd", "{fd}", "--workers", "4", "--log-level", "error",
        "counted_asgi:app",
    ],
    "hypercorn": [
        str(BIN / "hypercorn"), "--bind", "fd://{fd}", "--workers", "4", "counted_asgi:app",
    ],
}  # fmt: skip
SPAWNING = {"uvicorn", "hypercorn"}

PLAIN = {"/": 70, "/nowhere": 14, "/redirect": 5, "/unavailable": 5}
LEAVE = "/stream?n=20&s=0&size=20000"
MIXES = {
    "waitress": {**PLAIN, LEAVE: 2, "/file": 1, "/boom": 1, "/boom-first": 1, "/boom-mid": 1},
    "uvicorn-fork": {**PLAIN, LEAVE: 2, "/boom": 2, "/boom-first": 1, "/boom-mid": 1},
    "uwsgi": {**PLAIN, LEAVE: 2, "/file": 2, "/boom-mid": 2},
    "uvicorn": {**PLAIN, LEAVE: 2, "/boom": 2, "/boom-first": 1, "/boom-mid": 1},
    # it turns a start without a body into a 500, which is not seen from the application
    "hypercorn": {**PLAIN, LEAVE: 2, "/boom": 2, "/boom-mid": 2},
}


class Foreign(Server):
    """A server that is not gunicorn, on a listener of the test's; it answers the status itself."""

    def __init__(self, tmp_path, kind, **env):
        if not Path(COMMANDS[kind][0]).exists():
            pytest.skip(f"no {kind} beside this Python")
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.kind, fd = kind, self.listener.fileno()
        self.pass_fds = (fd,)
        self.command = [part.format(fd=fd) for part in COMMANDS[kind]]
        paths = os.pathsep.join([str(APPS), os.environ.get("PYTHONPATH", "")])
        self.env = {**os.environ, "PYTHONPATH": paths, "HOME": str(tmp_path), **env}
        if kind in SPAWNING:
            self.env["COUNTED_FILE"] = str(tmp_path / "board")
        self.log = []
        self.tracebacks = None  # the application's own are in there

    @functools.cached_property
    def address(self):
        """The listener's address; uWSGI speaks its own protocol to one that it inherits."""
        if "{fd}" in " ".join(COMMANDS[self.kind]):
            return self.listener.getsockname()
        return "127.0.0.1", int(self.logged(r"bound to TCP address 127.0.0.1:(\d+)")[1])

    @property
    def status_address(self):
        """The same: the application's workers answer."""
        return self.address

    def __exit__(self, *exception):
        self.listener.close()
        super().__exit__(*exception)

    def tries(self, what):
        """Ask until somebody answers: the worker that had the question may have been killed."""

        def answered():
            try:
                return what()
            except BROKEN:
                return None

        return eventually(answered, "a status")

    def status(self):
        return self.tries(super().status)

    def serving(self, workers):
        """Wait until so many workers have served, which they do one after another."""

        def all_have():
            try:
                self.get("/", timeout=5)
            except BROKEN:
                return None
            status = self.status()
            return len(status["workers"]) >= workers and status

        return eventually(all_have, f"{workers} workers have served")


class Mixed(Client):
    """A client that has its own mix, and a new connection for each request."""

    def __init__(self, address, seed, mix):
        super().__init__(address, None, seed)
        self.paths = [path for path, often in mix.items() for _ in range(often)]

    def run(self, requests):
        for _ in range(requests):
            path = self.random.choice(self.paths)
            self.one(path.encode(), path == LEAVE)
            self.hang_up()


@pytest.fixture(params=COMMANDS)
def kind(request):
    return request.param


def test_exact(tmp_path, kind, background):
    """Thousands of requests of all kinds: counted once, by class, each process in its slot."""
    with Foreign(tmp_path, kind) as server:
        before = server.serving(2)["requests"]
        before = eventually(lambda: server.settled(), "rest")["requests"]
        classes = server.status()["responses"]
        clients = [Mixed(server.address, seed, MIXES[kind]) for seed in range(CLIENTS)]
        for client in clients:
            background.add(client.run, REQUESTS // CLIENTS)
        background.join()
        seen = sum((client.seen for client in clients), collections.Counter())
        errors = seen.pop("errors")
        total = sum(seen.values())
        eventually(lambda: server.settled()["requests"] >= before + total, "all of them counted")
        for _ in range(20):  # one counted twice would come late
            after = server.settled()
        assert after["requests"] == before + total
        gained = {k: v - classes[k] for k, v in after["responses"].items() if v != classes[k]}
        assert gained == dict(seen)
        assert after["errors"] == errors
        assert sum(worker["requests"] for worker in after["workers"]) == after["requests"]
        assert len(after["workers"]) > 1
        assert after["untracked"] == 0
        assert (after["arbiter"]["gunicorn"], after["arbiter"]["workers_wanted"]) == (None, None)


@pytest.mark.parametrize(
    ("phase", "path"), [("calling", "/sleep?s=600"), ("writing", "/stream?n=6000&s=0.1&size=10")]
)
def test_phases_and_a_killed_worker(tmp_path, kind, phase, path):
    """A held request shows in its phase, in its worker; SIGKILL takes it out of the gauges, and
    out of nothing else."""
    other = {"calling": "writing", "writing": "calling"}[phase]
    with Foreign(tmp_path, kind) as server:
        server.serving(2)
        before = server.settled()["requests"]
        with connect(server.address) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            eventually(lambda: server.status()[phase] == 1, phase)
            status = server.status()
            assert status[other] == 0
            (worker,) = [w for w in status["workers"] if w[phase]]
            assert worker["state"] == phase
            os.kill(worker["pid"], signal.SIGKILL)
            eventually(lambda: not alive(worker["pid"]), "killed")
        if kind == "hypercorn":  # it ends when a worker dies; the file stays
            server.process.wait(WAIT)
            reading = slots.share(1, str(tmp_path / "board")).read()
            assert (reading.rows, reading.requests) == ((), before)
            return
        eventually(lambda: server.status()[phase] == 0, "out of the gauge")
        after = server.settled()
        assert after["requests"] == before
        assert worker["pid"] not in [w["pid"] for w in after["workers"]]
        assert server.get("/")[0] == 200


@pytest.mark.parametrize("kind", ["waitress", "uwsgi"])
def test_stats_of_the_users(tmp_path, kind, gate):
    """A Struct made before the fork shows what all processes do, and no more than it knows."""
    with Foreign(tmp_path, kind, COUNTED_STATS="1") as server:
        held = [gate.hold(server.address, path) for path in ("/hold", "/hold-writing")]
        eventually(lambda: server.text() == {"calling": 1, "writing": 1}, "both")
        status = server.status()
        assert status["requests"] is status["workers"] is status["responses"] is None
        assert [one.release() for one in held] == [True, True]
        server.settled()


def test_uwsgi_still_sends_files_itself(tmp_path):
    """What the server's file wrapper returned reaches it: it says that it used sendfile."""
    server = Foreign(tmp_path, "uwsgi")
    server.command.remove("--disable-logging")
    with server:
        code, body = server.get("/file?size=300000")
        assert (code, len(body)) == (200, 300000)
        server.logged(r"GET /file.*via sendfile\(\)")
        assert server.settled()["responses"]["2xx"] == 1


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn", "uwsgi"])
def test_made_after_the_fork_warns(tmp_path, kind):
    """Workers that share nothing say so, once each, instead of counting alone in silence."""
    server = Foreign(tmp_path, kind)
    server.command = ["2" if part == "4" else part for part in server.command]
    server.env.pop("COUNTED_FILE", None)
    if kind == "uwsgi":
        server.command.append("--lazy-apps")
    with server:
        warns_in_each(server, 2, {"uwsgi": "uWSGI"}.get(kind, kind))


def warns_in_each(server, workers, name):
    """Wait until so many workers have said so; it is said no second time."""
    line = rf"made in a worker of {name}, after the fork: without a file"

    def warnings():
        return len(re.findall(line, "\n".join(server.log)))

    eventually(lambda: warnings() >= workers, lambda: "\n".join(server.log))
    assert warnings() == workers


@pytest.mark.parametrize("args", [(), ("--threads", "2", "--preload")])
def test_made_in_a_worker_of_gunicorn_s_warns(serve, args):
    """Also under gunicorn, where each worker imports the application; with `preload_app` only of
    what is made at a request."""
    app = "late:app" if args else "counted_wsgi:app"
    with serve("--workers", "2", *args, conf=None, app=app, bind=["127.0.0.1:0"]) as server:
        server.logged("Booting worker")
        if args:
            assert server.get("/")[0] == 200
        warns_in_each(server, 1 if args else 2, "gunicorn")


def test_one_process_is_not_warned_of(tmp_path):
    """uvicorn without workers is alone, whenever the middleware is made."""
    server = Foreign(tmp_path, "uvicorn")
    server.command[3:] = ["--log-level", "error", "late:asgi"]
    with server:
        assert server.status()["requests"] == 0
    assert not [line for line in server.log if "gunicorn-raindrops" in line]
