"""True after violence: whatever kills the workers, the gauges tell what is really in flight."""

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from .classes import among, each
from .servers import Background, children, connect, eventually

KILLS, FEWER = 200, 40
# gunicorn 27's sync worker lingers for two seconds when it has aborted a request
HELD_ROUNDS = {"SIGKILL": 20, "SIGABRT": 5}
PATHS = ["/", "/", "/sleep?s=0.02", "/stream?n=5&s=0.01&size=10", "/boom", "/big?size=300000"]
CLIENTS = 6
MOST = 2 * CLIENTS + 1  # each one's, the one before that is just ending, and one that hangs
BROKEN = (OSError, http.client.HTTPException)


class Poll:
    """Reads the status twenty times a second and remembers each total that went back."""

    def __init__(self, server):
        self.server = server
        self.over = threading.Event()
        self.polls = 0
        self.back = []
        self.too_many = []

    def run(self, most):
        last = {}
        while not self.over.wait(0.05):
            try:
                status = self.server.status()
            except BROKEN:
                continue  # the worker that was answering got killed
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


def load(server, over, seed, paths):
    """Send requests until told to stop, whatever becomes of them."""
    chance = random.Random(seed)
    while not over.is_set():
        with contextlib.suppress(*BROKEN):
            server.get(chance.choice(paths), timeout=10)


def kill_at_random(server, kills, gunicorn):
    """SIGKILL workers at random moments; one of fifty hangs for gunicorn to kill."""
    chance = random.Random(kills)
    for number in range(kills):
        threading.Event().wait(chance.uniform(0, 0.12 if kills == KILLS else 0.3))
        pids = eventually(lambda: victims(server, gunicorn), "workers")
        if number % 50 == 25:
            with contextlib.suppress(*BROKEN):
                # a loop, not a sleep, in which a hub would go on to send its heartbeats
                server.get(chance.choice(["/stop", "/spin?s=30"]), timeout=0.05)
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(pids), signal.SIGKILL)


def victims(server, gunicorn):
    """Return the pids of the workers. gunicorn 23 never replaces one that died before it was
    registered, right after its fork; one that says that it boots has most likely been."""
    pids = children(server.pid)
    if gunicorn == "current":
        return pids
    return [pid for pid in pids if any(line.endswith(f"pid: {pid}") for line in server.log)]


@each
def test_gauges_stay_true_and_totals_never_go_back(serve, gunicorn, kind, background):
    """Kills under load, gunicorn's own timeouts among them; then nothing is in flight."""
    kind.available(gunicorn)
    kills = KILLS if kind.name in ("sync", "gthread") else FEWER
    args = ["--workers", "4", "--timeout", "2", *kind.args, *kind.room]
    with serve(*args, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
        server.ready(4)
        poll, over = Poll(server), threading.Event()
        # tornado goes on with another request between two parts of a response
        is_bounded = kind.keeps != "runs" and kind.name != "tornado"
        most = 4 * kind.at_once if is_bounded else MOST
        background.add(poll.run, most=most)
        for seed in range(CLIENTS):
            background.add(load, server, over, seed, [p for p in PATHS if p not in kind.unseen])
        kill_at_random(server, kills, gunicorn)
        # while all workers start there is nobody to answer, or to serve
        eventually(lambda: poll.polls > 10 and told(server).get("requests"), "polled and served")
        over.set()
        eventually(lambda: is_idle(server), "nothing in flight")
        poll.over.set()
        background.join()
        assert poll.back == []
        assert poll.too_many == []
        if gunicorn == "current":
            server.ready(4)
        # until gunicorn 23's next fork the arbiter has the slot of one that it does not replace
        lost = {server.pid} if gunicorn == "23" else set()
        eventually(lambda: shown(server) - lost == set(server.workers()), "the living alone")
        # A response that its client has read may not have ended yet; and of the requests that were
        # to hang, whose clients left at once, one may have lain in the queue until now.
        eventually(lambda: is_idle(server), "nothing in flight")


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
                eventually(lambda pid=victim[0]: not Path(f"/proc/{pid}").exists(), "reaped")
                reaped = time.monotonic()
                eventually(lambda: server.text()["calling"] == 3, "three", seconds=1.0)
                assert time.monotonic() - reaped < 1.5
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


def told(server):
    """Return the status; nothing where the worker that was answering got stopped or killed."""
    with contextlib.suppress(*BROKEN):
        return server.status(timeout=1)
    return {}


def is_idle(server):
    status = told(server)
    return bool(status) and status["calling"] == status["writing"] == 0


def shown(server):
    return {worker["pid"] for worker in server.status()["workers"]}


def busy(server):
    return {worker["pid"] for worker in server.status()["workers"] if worker["calling"]}


def test_gunicorns_own_timeouts(serve, gunicorn, background):
    """SIGABRT, and SIGKILL where that does not help: the request is out of the gauges."""
    args = ["--workers", "2", "--timeout", "5"]
    with serve(*args, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(2)
        clients = Background()
        clients.add(server.get, "/sleep?s=600", timeout=30)
        clients.add(server.get, "/stop", timeout=30)
        eventually(lambda: told(server).get("calling") == 2, "both held")
        server.logged("WORKER TIMEOUT")
        server.logged(r"was sent SIGKILL|exited with code")
        eventually(lambda: told(server).get("calling") == 0, "both out of the gauges")
        clients.join(errors=True)
        server.ready(2)


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
            eventually(lambda: not Path(f"/proc/{worker['pid']}").exists(), "reaped")
            # nobody can answer before there is another worker
            eventually(lambda: server.ready(1)["workers"][0]["pid"] != worker["pid"], "another")
            status = server.status()
        assert phases(status) == (0, 0)
        assert status["requests"] == 0
        assert server.get("/")[0] == 200
        server.kill()


def phases(status):
    return status["calling"], status["writing"]
