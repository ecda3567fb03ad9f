"""True after violence: whatever kills the workers, the gauges tell what is really in flight."""

import contextlib
import os
import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from ..processes import children, is_reaped
from .classes import CELL, PAIRS, among, each
from .servers import BROKEN, connect, eventually

KILLS, FEWER = 200, 40
# gunicorn 27's sync worker lingers for two seconds when it has aborted a request
HELD_ROUNDS = {"SIGKILL": 20, "SIGABRT": 5}
PATHS = ["/", "/", "/sleep?s=0.02", "/stream?n=5&s=0.01&size=10", "/boom", "/big?size=300000"]
CLIENTS = 6
MOST = 2 * CLIENTS + 1  # each one's, the one before that is just ending, and one that hangs


class Poll:
    """Reads the status twenty times a second.

    It remembers each total that went back, and each request that was still in the gauges though
    its worker had been reaped a second before the status was asked for.
    """

    def __init__(self, server):
        self.server = server
        self.over = threading.Event()
        self.polls = 0
        self.back = []
        self.late = []
        self.too_many = []
        self._seen = set()
        self._reaped = {}

    def run(self, most):
        last = {}
        while not self.over.wait(0.05):
            asked = self._look_for_reaped()
            try:
                status = self.server.status()
            except BROKEN:
                continue  # the worker that was answering got killed
            self._check_gauges(status, asked)
            totals = {"requests": status["requests"], "errors": status["errors"]}
            totals |= status["responses"] | status["exits"]
            totals["busy"] = status["busy_seconds"]
            totals["recorded"] = status["request_seconds"]["count"]
            totals["queued"] = status["queue_seconds"]["count"]
            self.back += [(k, last[k], totals[k]) for k in last if totals[k] < last[k]]
            if status["calling"] + status["writing"] > most:
                self.too_many.append(status)
            last = totals
            self.polls += 1

    def _look_for_reaped(self):
        """Note when a worker was first seen to be gone; returns the time."""
        self._seen |= set(children(self.server.pid))
        for pid in self._seen - set(self._reaped):
            if is_reaped(pid):
                self._reaped[pid] = time.monotonic()
        return time.monotonic()

    def _check_gauges(self, status, asked):
        """The gauges are the sums over the workers, of whom none has been gone for a second."""
        rows = [worker for worker in status["workers"] if inside(worker)]
        self.late += [row for row in rows if self._reaped.get(row["pid"], asked) < asked - 1]
        for name in ("calling", "writing", "reading"):
            assert (status[name] or 0) == sum(row[name] or 0 for row in rows)


def inside(row):
    """Return how many requests and connections a worker has in its hands."""
    return row["calling"] + row["writing"] + (row["reading"] or 0)


def load(server, over, seed, paths):
    """Send requests until told to stop, whatever becomes of them."""
    chance = random.Random(seed)
    while not over.is_set():
        with contextlib.suppress(*BROKEN):
            server.get(chance.choice(paths), timeout=10)


def kill_at_random(server, kills, gunicorn, hangs):
    """SIGKILL workers at random moments; one of fifty hangs for gunicorn to kill."""
    chance = random.Random(kills)
    for number in range(kills):
        threading.Event().wait(chance.uniform(0, 0.12 if kills == KILLS else 0.3))
        pids = eventually(lambda: victims(server, gunicorn), "workers")
        # Early, since gunicorn leaves alone one that has sent no heartbeat yet: a tornado worker
        # sends its first after a second. One of the later kills ends it.
        if number % 50 == 5:
            with contextlib.suppress(*BROKEN):
                # a loop, not a sleep, in which a hub would go on to send its heartbeats
                server.get(chance.choice(hangs), timeout=0.05)
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)


def victims(server, gunicorn):
    """Return the pids of the workers that may be killed.

    gunicorn < 24 loses a worker that dies before it is registered, and would have none left in the
    end: test_early_death.py is about those. One that has said that it boots is registered by now,
    unless its arbiter has not run since the fork.
    """
    pids = children(server.pid)
    if gunicorn == "current":
        return pids
    return [pid for pid in pids if any(line.endswith(f"pid: {pid}") for line in server.log)]


@each
def test_gauges_stay_true_and_totals_never_go_back(serve, gunicorn, kind, background):
    """Kills under load, gunicorn's own timeouts among them; then nothing is in flight."""
    kind.available(gunicorn)
    kills = KILLS if CELL or (gunicorn, kind.name) == ("current", "sync") else FEWER
    args = ["--workers", "4", "--timeout", "2", *kind.args, *kind.room]
    with serve(*args, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
        server.ready(4)
        poll, over = Poll(server), threading.Event()
        # tornado goes on with another request between two parts of a response
        is_bounded = kind.keeps != "runs" and kind.name != "tornado"
        most = 4 * kind.at_once if is_bounded else MOST
        background.add(poll.run, most=most)  # whose errors are raised by join()
        for seed in range(CLIENTS):
            background.add(load, server, over, seed, [p for p in PATHS if p not in kind.unseen])
        # the threads of gthread do not keep it from sending its heartbeats
        hangs = ["/stop"] if kind.name == "gthread" else ["/stop", "/spin?s=30"]
        kill_at_random(server, kills, gunicorn, hangs)
        # while all workers start there is nobody to answer, or to serve
        eventually(lambda: poll.polls > 10 and server.told().get("requests"), "polled and served")
        over.set()
        eventually(lambda: is_idle(server), lambda: f"nothing in flight: {server.told()}")
        poll.over.set()
        background.join()
        assert poll.back == []
        assert poll.late == []
        assert poll.too_many == []
        if gunicorn == "current":
            server.ready(4)
        # until gunicorn 23's next fork the arbiter has the slot of one that it does not replace
        lost = {server.pid} if gunicorn == "23" else set()
        eventually(lambda: shown(server) - lost == set(server.workers()), "the living alone")
        # A response that its client has read may not have ended yet; and of the requests that were
        # to hang, whose clients left at once, one may have lain in the queue until now.
        eventually(lambda: is_idle(server), lambda: f"nothing in flight: {server.told()}")


@pytest.mark.parametrize("how", ["SIGKILL", "SIGABRT"])
def test_within_a_second_of_a_reaping_the_gauge_is_right(serve, gunicorn, how):
    """Four workers each hold a request; one is killed: three within a second, again and again."""
    args = ["--workers", "4", "--graceful-timeout", "1", "--timeout", "600"]
    with serve(*args, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(4)
        chance = random.Random(how)
        held = []
        try:
            for _ in range(HELD_ROUNDS[how]):
                while len(held) < 4:
                    held.append(hold(server, len(held) + 1))
                victim = chance.choice(held)
                held.remove(victim)
                os.kill(victim[0], getattr(signal, how))
                server.heals(victim[0], lambda status: status["calling"] == 3, "three")
                victim[1].close()
        finally:
            for _, client in held:
                client.close()


def hold(server, number):
    """Hold a request; returns the pid of the worker that has it, and its client."""
    before = busy(server)
    client = connect(server.address)
    client.sendall(b"GET /sleep?s=600 HTTP/1.0\r\n\r\n")
    eventually(lambda: len(busy(server)) == number, f"{number} held")
    (pid,) = busy(server) - before
    return pid, client


def is_idle(server):
    status = server.told()
    return bool(status) and status["calling"] == status["writing"] == 0


def shown(server):
    return {worker["pid"] for worker in server.status()["workers"]}


def busy(server):
    return {worker["pid"] for worker in server.status()["workers"] if worker["calling"]}


# How gunicorn's timeout ends a worker whose request keeps it from its heartbeat: after a SIGABRT it
# says how it leaves, and a second later it is killed. Exit status 0 is not logged.
NOT_LOGGED, STATUS_1 = set(), {"exited with code 1"}
SIGABRT, SIGKILL = {"was sent SIGABRT"}, {"was sent SIGKILL"}
TRIES = 3
"""On a busy machine a second may be too short for a worker to leave in."""
ENDS = {
    # SystemExit is raised in the request; what handles its connection takes that for an error
    "sync": NOT_LOGGED,
    "gevent": NOT_LOGGED,
    "eventlet": NOT_LOGGED,
    # the hub or loop passes it on
    "gevent_pywsgi": STATUS_1,
    "tornado": STATUS_1,
    # its handler is a callback of the loop that the request blocks
    "asgi": SIGKILL,
    # they leave SIGABRT to the kernel
    "uvicorn_worker.UvicornWorker": SIGABRT,
    "uvicorn.workers.UvicornWorker": SIGABRT,
}
SILENT = [(g, kind, "/spin?s=600", ENDS[kind.name]) for g, kind in PAIRS if kind.name in ENDS]
# A stopped process is the same in every class, and takes no SIGABRT. It is the only way to silence
# gthread, whose main thread sends the heartbeats.
SILENT += [(g, kind, "/stop", SIGKILL) for g, kind in PAIRS if kind.name in ("sync", "gthread")]


@pytest.mark.parametrize(
    ("gunicorn", "kind", "path", "logged"),
    SILENT,
    ids=[f"{g}-{kind.name}-{path[1:5]}" for g, kind, path, _ in SILENT],
)
def test_gunicorns_own_timeout(serve, gunicorn, kind, path, logged):
    """The request of a worker that is killed for its silence is out of the gauges, however each
    class takes the SIGABRT."""
    kind.available(gunicorn)
    args = ["--workers", "2", "--timeout", "4", *kind.args]
    for _ in range(TRIES):
        with serve(*args, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
            pid = killed_for_its_silence(server, path)
        ended = ends(server, pid)
        if logged == SIGKILL or ended != SIGKILL:
            break
    assert ended == logged
    assert says_goodbye(server, pid) == (logged in (NOT_LOGGED, STATUS_1))


def killed_for_its_silence(server, path):
    """Have a request keep its worker from its heartbeats; return that one's pid."""
    server.ready(2)
    # gunicorn lets one that hangs before its first heartbeat hang for ever
    eventually(lambda: all(map(has_beaten, server.workers())), "heartbeats")
    with connect(server.address) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        pid = int(server.logged(r"WORKER TIMEOUT \(pid:(\d+)\)")[1])
    # The client has gone: gunicorn 27's sync worker would linger until it is killed.
    server.heals(pid, lambda status: status["calling"] == 0, "nothing in flight")
    status = server.ready(2)
    assert status["exits"]["timeout"] == sum(status["exits"].values()) == 1
    server.kill()
    return pid


def has_beaten(pid):
    """Tell whether a worker has sent a heartbeat: its file's time is the monotonic clock's then."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if "/wgunicorn-" in str(fd.readlink()):
                return fd.stat().st_mtime < time.time() / 2
    return False


def ends(server, pid):
    """Return how the arbiter has logged a worker's end."""
    pattern = rf"Worker \(pid:{pid}\) (was sent \w+|exited with code \d+)"
    return {match[1] for line in list(server.log) if (match := re.search(pattern, line))}


def says_goodbye(server, pid):
    """Tell whether a worker has logged its own end."""
    return any(line.endswith(f"Worker exiting (pid: {pid})") for line in list(server.log))


@among()
def test_a_killed_worker_takes_along_what_it_holds(serve, gunicorn, kind):
    """A request in each phase, as many as a worker runs at once: out of the gauges within a second
    of its end, and out of nothing else."""
    kind.available(gunicorn)
    paths = ["/sleep?s=600", "/stream?n=6000&s=0.1&size=10"][: kind.at_once]
    args = ["--workers", "1", *kind.args, *kind.room]
    with serve(*args, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
        server.ready(1)
        with contextlib.ExitStack() as stack:
            for path in paths:
                client = stack.enter_context(connect(server.address))
                client.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            held = (1, len(paths) - 1)
            eventually(lambda: phases(server.text()) == held, f"{held} held")
            (worker,) = server.status()["workers"]
            assert (worker["calling"], worker["writing"]) == held
            os.kill(worker["pid"], signal.SIGKILL)
            # nobody answers before there is another worker
            status = server.heals(worker["pid"], lambda s: phases(s) == (0, 0), "nothing in flight")
        assert worker["pid"] not in shown(server)
        assert status["requests"] == 0
        assert server.get("/")[0] == 200
        server.kill()


def phases(status):
    return status["calling"], status["writing"]
