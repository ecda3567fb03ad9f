"""Connections that hold a thread of a sync or gthread worker without a request in the application.

`make test` kills a few workers in that state; READING_KILLS=200 kills as many as that.
"""

import contextlib
import json
import os
import random
import signal

import pytest

from .classes import HOLDING, PAIRS, among
from .servers import connect, eventually

KILLS = int(os.environ.get("READING_KILLS", "5"))
HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
ONE_THREAD_EACH = [(g, one) for g, one in PAIRS if one.name in HOLDING]
IDS = [f"{g}-{one.name}" for g, one in ONE_THREAD_EACH]


@contextlib.contextmanager
def clients(server, number, sent):
    """Hold some connections on which so much was sent."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(connect(server.address)).sendall(sent)
        yield


def reads(server, number):
    """Wait until so many connections are held; returns the status."""

    def there():
        status = server.told()
        return status.get("reading") == number and status

    return eventually(there, lambda: f"{number} reading, but {server.told()}")


def hello(client):
    """Read a response to its end."""
    got = b""
    while not got.endswith(b"hello\n"):
        more = client.recv(1000)
        assert more, got
        got += more
    return got


@pytest.mark.parametrize(("gunicorn", "kind"), ONE_THREAD_EACH, ids=IDS)
def test_half_a_head_holds_a_thread(serve, gunicorn, kind):
    """Such workers are not idle, and who waits behind them waits; gone with their clients."""
    workers = 2 // kind.at_once
    args = ("--workers", str(workers), *kind.args, *kind.room)
    with serve(*args, gunicorn=gunicorn, env={"RAINDROPS_EXPOSE": "on"}) as server:
        server.ready(workers)
        # who asks by the application's own listener holds a thread, too, and is not shown
        asked = json.loads(server.get("/_raindrops.json")[1])
        assert (asked["reading"], asked["workers"][0]["state"]) == (0, "idle")
        with clients(server, 2, HALF_A_HEAD):
            held = reads(server, 2)
            assert held["scoreboard"].rstrip(".") == "R" * workers
            assert (held["calling"], held["writing"], held["utilization"]) == (0, 0, 1.0)
            assert {worker["state"] for worker in held["workers"]} == {"reading"}
            with clients(server, 4, HALF_A_HEAD + b"\r\n"):
                # queued behind sync workers, waiting inside gthread
                eventually(lambda: server.status()["saturation"] == 3.0, "four behind them")
        reads(server, 0)
        if kind.name == "sync":  # in a recv() that the kernel restarts it learns of no signal
            return
        with clients(server, 1, HALF_A_HEAD):
            (pid,) = [worker["pid"] for worker in reads(server, 1)["workers"]]
            os.kill(pid, signal.SIGTERM)
            finishing = eventually(
                lambda: (s := server.status())["capacity"] == 0 and s, "stopping"
            )
            assert (finishing["scoreboard"][0], finishing["reading"]) == ("G", 1)


@among(*HOLDING)
def test_a_lingering_close_holds_a_thread(serve, gunicorn, kind):
    """gunicorn 27 waits for its client to close as well, two seconds at most."""
    with serve("--workers", "1", *kind.args, *kind.room) as server:
        server.ready(1)
        with connect(server.address) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert hello(client)
            status = reads(server, 1)
            assert (status["calling"], status["writing"], status["scoreboard"][0]) == (0, 0, "R")
        reads(server, 0)


def test_a_connection_kept_alive_holds_no_thread(serve, gunicorn):
    """gthread waits for its next request without one."""
    args = ("--workers", "1", "--threads", "2", "--keep-alive", "60")
    with serve(*args, gunicorn=gunicorn) as server:
        server.ready(1)
        with connect(server.address) as client:
            for _ in range(3):
                client.sendall(HALF_A_HEAD)
                assert reads(server, 1)["workers"][0]["state"] == "reading"
                client.sendall(b"\r\n")
                assert hello(client)
                eventually(lambda: server.status()["scoreboard"][0] == "_", "idle")


@among(*HOLDING)
def test_a_killed_worker_takes_along_what_it_read(serve, gunicorn, kind):
    """Its connections are out of the gauge within a second of its end, again and again."""
    chance = random.Random(kind.name)
    args = ("--workers", "2", *kind.args, *kind.room)
    with serve(*args, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(2)
        for _ in range(KILLS):
            with clients(server, 2, HALF_A_HEAD):
                held = [worker for worker in reads(server, 2)["workers"] if worker["reading"]]
                victim = chance.choice(held)
                left = 2 - victim["reading"]
                os.kill(victim["pid"], signal.SIGKILL)
                server.heals(victim["pid"], lambda s, n=left: s["reading"] == n, f"{left} left")
            reads(server, 0)
            server.ready(2)
        server.kill()
