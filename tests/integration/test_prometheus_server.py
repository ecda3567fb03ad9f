"""A real Prometheus scrapes a real server, through restarts, under load; what it makes of it."""

import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

from ..bounds import WAIT
from ..processes import children
from ..prometheus import Prometheus, needs_prometheus, scraping
from .load import Load
from .servers import eventually

KILLS = 80
WINDOW = 5  # seconds of a rate

# A worker's processor time begins anew with the worker.
COUNTERS = re.compile("gunicorn_(?!worker_cpu).*_(total|count|sum|bucket)")


def series(prometheus):
    """Return how many series of ours there have been."""
    return len(prometheus.ask("series", **{"match[]": '{__name__=~"gunicorn_.+"}'}))


def counters(prometheus):
    """Return the names of all series of ours that count."""
    return [name for name in prometheus.ask("label/__name__/values") if COUNTERS.fullmatch(name)]


def kill(server, number):
    """SIGKILL so many workers, one after the other, under way with whatever they are in."""
    chance, killed = random.Random(number), set()
    while len(killed) < number:
        # on a busy machine one may live on for a while after its SIGKILL
        pids = eventually(
            lambda: [pid for pid in children(server.pid) if pid not in killed], "workers"
        )
        pid = chance.choice(pids)
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
        threading.Event().wait(chance.uniform(0.02, 0.08))


def sleep_on(server, until):
    """Ask for sleeps, one after the other; returns the share of its time that one was under way."""
    began, inside = time.monotonic(), 0.0
    while time.monotonic() < until:
        asked = time.monotonic()
        assert server.get("/sleep?s=3")[0] == 200
        inside += time.monotonic() - asked
    return inside / (time.monotonic() - began)


def test_restarts_under_load(serve, tmp_path, background):
    """80 restarts: the number of series stays, no counter is reset, the total is exact; and the
    rate of the busy seconds is the load offered, within 5 %."""
    args = ["--workers", "4", "--timeout", "600"]
    with serve(*args, tracebacks=None) as server:
        server.ready(4)
        with Prometheus(
            tmp_path, scraping(0.25, "{}:{}".format(*server.status_address))
        ) as prometheus:
            with Load(server.address, rate=200):
                kill(server, KILLS)
            server.ready(4)
            eventually(lambda: server.status()["exits"]["killed"] >= KILLS, "all were reaped")
            assert server.status()["exits"]["killed"] == KILLS

            until = time.monotonic() + WINDOW + 2
            for _ in range(3):
                background.add(sleep_on, server, until)
            threading.Event().wait(WINDOW + 1)
            (busy,) = prometheus.query(f"sum(rate(gunicorn_worker_busy_seconds_total[{WINDOW}s]))")
            offered = sum(background.join())
            assert busy == pytest.approx(offered, rel=0.05)

            total = server.settled()["requests"]
            eventually(
                lambda: prometheus.query("gunicorn_requests_total") == [total], "the whole total"
            )
            assert prometheus.query('gunicorn_worker_exits_total{reason="killed"}') == [KILLS]
            resets = {
                name: prometheus.query(f"sum(resets({name}[10m]))") for name in counters(prometheus)
            }
            assert len(resets) > 10
            assert resets == {name: [0] for name in resets}
            # those of a worker are away while its slot has none
            assert [series(prometheus)] == prometheus.query('count({__name__=~"gunicorn_.+"})')
            eventually(
                lambda: prometheus.query("count_over_time(up[10m:250ms])")[0] > 40, "scrapes enough"
            )


def test_promtool(serve):
    """It finds nothing to complain of, neither in names nor in types or texts."""
    needs_prometheus()
    with serve("--workers", "2") as server:
        server.ready(2)
        server.get("/")
        code, body, _ = server.ask("/metrics")
        assert code == 200
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=body, capture_output=True, timeout=WAIT
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
