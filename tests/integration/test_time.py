"""How long requests wait and run, what workers do, and why they end."""

import contextlib
import os
import signal
import threading
import time

import pytest

from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.reader import open_read_only

from ..bounds import WAIT
from ..processes import children
from ..schema import parsed
from .classes import CLASSES, among
from .servers import BROKEN, connect, eventually

NO_TIMEOUT = ["--timeout", "600"]
CLOCK = 0.02
"""Seconds by which two clocks may differ: the kernel tells in ticks how long data has waited."""


def hold(server, path="/sleep?s=600", calling=1):
    """Have a worker call the application for this; returns the client's socket."""
    client = connect(server.address)
    client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    eventually(lambda: server.text()["calling"] == calling, f"{calling} calling")
    return client


@pytest.mark.parametrize("defer_accept", ["on", "off"])
def test_queue_and_request_are_told_apart(serve, gunicorn, worker_class, gate, defer_accept):
    """Behind a slow request another waits: that is queue time by kernel and proxy alike, and no
    request time; the slow one the other way. The bounds are what the test itself saw."""
    env = {"RAINDROPS_DEFER_ACCEPT": defer_accept, "RAINDROPS_QUEUE_HEADER": "on"}
    with serve(*worker_class, "--threads", "1", gunicorn=gunicorn, env=env) as server:
        server.ready(1)
        began = time.time()
        with gate.hold(server.address) as slow, connect(server.address) as client:
            held = time.time()
            head = f"GET / HTTP/1.0\r\nX-Request-Start: t={held:.6f}\r\n\r\n"
            client.sendall(head.encode())
            sent = time.time()
            threading.Event().wait(1)  # what is measured
            released = time.time()
            assert slow.release()
            assert client.recv(4096).startswith(b"HTTP/1.0 200")
            over = time.time()
        eventually(lambda: server.status()["requests"] == 2, "both counted")
        status = server.settled()
        queue, request = status["queue_seconds"], status["request_seconds"]
        assert queue["count"] == request["count"] == 2
        assert released - sent - CLOCK <= queue["max"] <= over - began + CLOCK
        assert queue["sum"] - queue["max"] <= held - began + CLOCK  # what the slow one has waited
        assert queue["header"]["count"] == 1
        assert released - held - CLOCK <= queue["header"]["max"] <= over - held + CLOCK
        assert queue["ignored"] == 0
        assert released - held - CLOCK <= request["max"] <= over - began + CLOCK
        # what the other one took
        assert request["sum"] - request["max"] <= over - released + CLOCK


def test_headers_of_strangers_and_nonsense(serve):
    """Only a trusted proxy's header is read; what it says wrong is counted as ignored."""
    env = {"RAINDROPS_QUEUE_HEADER": "on"}
    for trusted, ignored in (("127.0.0.1", 2), ("10.1.2.3", 0)):
        with serve("--forwarded-allow-ips", trusted, env=env) as server:
            server.ready(1)
            for value in ("soon", f"{time.time() + 100:.3f}"):
                server.get("/", headers={"X-Queue-Start": value})
            eventually(lambda s=server: s.status()["requests"] == 2, "both counted")
            queue = server.status()["queue_seconds"]
            assert (queue["header"]["count"], queue["ignored"]) == (0, ignored)
            assert queue["count"] == 2


def test_the_oldest_request_is_shown(serve, gunicorn, gate):
    """Its method, path and age, without its query string; nothing once it is over."""
    args = ["--worker-class", "gthread", "--threads", "3", *NO_TIMEOUT]
    with serve(*args, gunicorn=gunicorn) as server:
        assert server.ready(1)["workers"][0]["current"] is None
        with gate.hold(server.address) as first:
            held = time.monotonic()
            with gate.hold(server.address, "/hold/"):
                (worker,) = server.status()["workers"]
                current = worker["current"]
                assert (current["method"], current["path"]) == ("GET", "/hold")
                assert "secret" not in server.ask("/_raindrops.json")[1].decode()
                took = time.monotonic() - held
                first.release()
                eventually(lambda: server.text()["calling"] == 1, "the first is over")
                (worker,) = server.status()["workers"]
                assert worker["current"]["path"] == "/hold/"
                assert worker["busy_seconds"] >= took + worker["current"]["seconds"] - 0.01


def test_nothing_is_shown_where_it_is_switched_off(serve):
    """Neither method nor path leave the worker."""
    with serve(*NO_TIMEOUT, "--graceful-timeout", "1", env={"RAINDROPS_CURRENT": "off"}) as server:
        server.ready(1)
        with hold(server):
            assert server.status()["workers"][0]["current"] is None
            os.kill(server.workers()[0], signal.SIGKILL)
            eventually(lambda: server.status()["killed"], "noticed")
        assert server.status()["killed"][0]["current"] is None


def test_a_timeout_names_the_request(serve, gunicorn, background):
    """One worker takes gunicorn's SIGABRT and ends by itself, one has to be killed: log and status
    name the requests that they were in, without query strings."""
    args = ["--workers", "2", "--timeout", "2"]
    with serve(*args, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(2)
        background.add(server.get, "/sleep?s=600&other=secret", timeout=30)
        background.add(server.get, "/stop?secret", timeout=30)
        for path in ("/sleep", "/stop"):
            server.logged(rf"WARNING.*was killed by the timeout in 'GET {path}', \d+\.\d s after")
        status = server.status()
        assert status["exits"]["timeout"] == 2
        assert {one["current"]["path"] for one in status["killed"]} == {"/sleep", "/stop"}
        assert {one["cause"] for one in status["killed"]} == {"timeout"}
        assert all(one["current"]["seconds"] >= 2 for one in status["killed"])
        assert not any("secret" in line for line in server.log if "raindrops" in line)
        background.join(errors=True)


def test_exits_by_cause(serve, gunicorn):
    """Each end of a worker is counted once, by what it ended of."""
    args = ["--workers", "1", "--max-requests", "3", "--graceful-timeout", "2", *NO_TIMEOUT]
    expected = dict.fromkeys(
        ("graceful", "max_requests", "timeout", "killed", "boot_failure", "failed"), 0
    )

    def ended(cause):
        expected[cause] += 1
        eventually(lambda: server.status()["exits"] == expected, f"{expected}")
        eventually(lambda: server.ready(1)["calling"] == 0, "a new worker")

    with serve(*args, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(1)
        for _ in range(3):
            server.get("/")
        ended("max_requests")
        os.kill(server.workers()[0], signal.SIGTERM)
        ended("graceful")
        os.kill(server.workers()[0], signal.SIGKILL)
        ended("killed")
        with contextlib.suppress(*BROKEN):
            server.get("/exit")  # without a word: as if it had been killed
        ended("killed")
        with hold(server), contextlib.suppress(ProcessLookupError):
            os.kill(server.workers()[0], signal.SIGKILL)
            ended("killed")
        server.logged(r"was killed in 'GET /sleep'")
        latest, gone, idle = server.status()["killed"]
        assert (latest["current"]["path"], latest["in_flight"]) == ("/sleep", 1)
        assert gone["current"]["path"] == "/exit"
        assert idle["current"] is None


@among()
def test_each_class_says_why_its_workers_end(serve, gunicorn, kind):
    """Also where a server takes the signals over, or ends itself by the one that it was told by."""
    kind.available(gunicorn)
    bounds = () if kind.name in UNBOUNDED else ("--max-requests", "3")
    args = [*kind.args, *bounds, "--graceful-timeout", "2"]
    with serve(*args, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
        server.ready(1)
        expected = {}

        def ended(cause, act):
            before = server.workers()
            act()
            expected[cause] = expected.get(cause, 0) + 1
            eventually(lambda: server.workers() not in ([], before), "another worker")
            server.ready(1)
            found = {cause: n for cause, n in server.status()["exits"].items() if n}
            assert found == expected

        if bounds:
            ended("max_requests", lambda: [server.get("/") for _ in range(3)])
        server.get("/")  # tornado's worker forgets a SIGTERM that comes before it runs
        ended("graceful", lambda: os.kill(server.workers()[0], signal.SIGTERM))
        # A pool of Python's forgets a thread whose start an exception breaks off, as SIGABRT's, and
        # the interpreter then waits for it at its end: the thread is there before.
        server.get("/")
        with hold(server, "/sleep?s=3"):  # which gthread waits for
            # not the arbiter's: that would be its timeout
            ended("killed", lambda: os.kill(server.workers()[0], signal.SIGABRT))
        (killed,) = server.status()["killed"]
        assert (killed["current"]["path"], killed["in_flight"]) == ("/sleep", 1)
        server.kill()


UNBOUNDED = {"gevent_pywsgi"}  # gevent's server counts no requests

ASYNCHRONOUS = [kind.name for kind in CLASSES.values() if kind.is_asgi]


@among(*ASYNCHRONOUS)
def test_an_application_that_cannot_start(serve, gunicorn, kind, tmp_path):
    """It is a boot failure, also of a worker that says that it has booted."""
    kind.available(gunicorn)
    file = str(tmp_path / "board")
    env = {"RAINDROPS_FILE": file}
    app = "asgi_apps:unready"
    with serve(*kind.args, app=app, gunicorn=gunicorn, env=env, tracebacks=None) as server:
        server.process.wait(WAIT)
    board = Scoreboard(1, file)
    found = {cause: n for cause, n in board.read().exits.items() if n}
    board.forget_file()
    assert found == {"boot_failure": 1}


@among()
def test_the_times_of_each_class(serve, gunicorn, kind, gate):
    """Each request is in request_seconds and, if a proxy said so, in queue_seconds, once; busy are
    the workers as long as the requests were inside; the one in flight is named."""
    kind.available(gunicorn)
    env = {"RAINDROPS_QUEUE_HEADER": "on"}
    args = [*kind.args, *NO_TIMEOUT, "--graceful-timeout", "1"]
    with serve(*args, gunicorn=gunicorn, app=kind.app, env=env) as server:
        server.ready(1)
        began = time.monotonic()
        for _ in range(3):
            server.get("/", headers={"X-Request-Start": f"t={time.time() - 0.5:.3f}"})
        asked = time.monotonic() - began
        with gate.hold(server.address):
            held = time.monotonic()
            current = server.status()["workers"][0]["current"]
            took = time.monotonic() - held
        assert (current["method"], current["path"]) == ("GET", "/hold")
        eventually(lambda: server.status()["requests"] == 4, "all counted")
        status = server.settled()
        request, header = status["request_seconds"], status["queue_seconds"]["header"]
        assert (request["count"], header["count"]) == (4, 3)
        assert took <= request["max"] <= request["sum"]
        assert status["busy_seconds"] == pytest.approx(request["sum"], abs=0.02)
        assert 3 * 0.5 <= header["sum"] <= 3 * 0.5 + asked + CLOCK
        server.kill()


def test_boot_failures_are_kept_in_a_file(serve, gunicorn, tmp_path):
    """gunicorn stops there, so nobody is left to ask; the next server knows."""
    file = str(tmp_path / "board")
    with serve(app="apps:nothing", gunicorn=gunicorn, env={"RAINDROPS_FILE": file}) as server:
        server.process.wait(WAIT)
    board = Scoreboard(1, file)
    assert board.read().exits["boot_failure"] == 1
    board.forget_file()


def test_busy_seconds_go_on_from_worker_to_worker(serve, gunicorn):
    """What a killed worker's request had taken is kept; an idle worker adds nothing."""
    with serve(*NO_TIMEOUT, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(1)
        busy = 0.0
        for _ in range(3):
            began = time.monotonic()
            with hold(server):
                (pid,) = server.workers()
                os.kill(pid, signal.SIGKILL)
                server.heals(pid, lambda status: status["calling"] == 0, "nothing in flight")
            most = time.monotonic() - began
            after = eventually(lambda: children(server.pid) and server.ready(1), "a new worker")
            assert busy < after["busy_seconds"] <= busy + most + 0.01
            busy = after["busy_seconds"]
            assert after["workers"][0]["busy_seconds"] == 0
        assert server.status()["busy_seconds"] == busy


def test_readiness(serve):
    """200 as long as nobody waits, 503 while somebody does."""
    env = {"RAINDROPS_READY": "/ready", "RAINDROPS_READY_ABOVE": "1"}
    with serve(*NO_TIMEOUT, "--graceful-timeout", "1", env=env) as server:
        server.ready(1)
        assert server.ask("/ready")[:2] == (200, b"ready\n")
        assert server.get("/ready")[0] == 404  # not on the application's address
        with hold(server):
            assert server.ask("/ready")[0] == 200  # busy, but nobody waits
            with connect(server.address):
                eventually(lambda: server.ask("/ready")[0] == 503, "somebody waits")
                assert server.ask("/ready")[1] == b"saturation is 2.00, above 1\n"
            assert server.ask("/ready", method="POST")[0] == 405


def marks(server, since):
    return parsed(server.ask(f"/_raindrops.json?since={since}")[1])["marks"]


def test_marks_are_no_readers_own(serve, gunicorn, gate):
    """The most there were at once is told after it is over, to each reader since its own last
    look, however often others look."""
    args = ["--worker-class", "gthread", "--threads", "3"]
    with serve(*args, gunicorn=gunicorn) as server:
        first = server.ready(1)["time"]
        with gate.hold(server.address), gate.hold(server.address):
            pass
        eventually(lambda: server.status()["requests"] == 2, "both counted")
        for _ in range(2):
            found = marks(server, first)
            assert found["since"]["calling"] == found["10s"]["calling"] == 2
        # marks are kept by the second
        eventually(
            lambda: marks(server, server.status()["time"])["since"]["calling"] == 0,
            "a quiet second",
        )
        assert marks(server, first)["since"]["calling"] == 2


def test_a_queue_that_nobody_looked_at(serve, gunicorn, gate, tmp_path):
    """A worker's thread looks each second, so that the mark is there for whoever comes later."""
    file = str(tmp_path / "board")
    with serve(*NO_TIMEOUT, gunicorn=gunicorn, env={"RAINDROPS_FILE": file}) as server:
        first = server.ready(1)["time"]
        board = open_read_only(file)  # the marks alone: a look that makes none
        with gate.hold(server.address) as held, connect(server.address) as waiting:
            waiting.sendall(b"GET / HTTP/1.0\r\n\r\n")
            eventually(lambda: board.marks(60).queued == 1, "the worker's own look")
            held.release()
            assert waiting.recv(100)
        found = marks(server, first)
        assert (found["since"]["queued"], found["10s"]["queued"]) == (1, 1)
        assert server.status()["listeners"][0]["queued"] == 0


OWN_LIMIT = """
from {module} import UvicornWorker

class Worker(UvicornWorker):
    CONFIG_KWARGS = {{**UvicornWorker.CONFIG_KWARGS, "limit_max_requests": 2}}
"""


@pytest.mark.parametrize(
    ("gunicorn", "module"), [("current", "uvicorn_worker"), ("23", "uvicorn.workers")]
)
def test_uvicorns_own_limit(serve, gunicorn, module, tmp_path):
    """A subclass's limit_max_requests ends a worker as gunicorn's max_requests does."""
    CLASSES[f"{module}.UvicornWorker"].available(gunicorn)
    (tmp_path / "limited.py").write_text(OWN_LIMIT.format(module=module))
    args, env = ["--worker-class", "limited.Worker"], {"PYTHONPATH": str(tmp_path)}
    with serve(*args, gunicorn=gunicorn, app="asgi_apps:app", env=env) as server:
        server.ready(1)
        for _ in range(2):
            server.get("/")
        eventually(lambda: server.status()["exits"]["max_requests"] == 1, "the worker's end")
        assert server.status()["exits"]["graceful"] == 0
        server.kill()
