"""What a worker costs, and how long it lets a thread wait for the interpreter."""

import os

import pytest

from .servers import eventually

PAGE = os.sysconf("SC_PAGE_SIZE")


def test_cpu_and_memory(serve, gunicorn):
    """As /proc has them, of each worker."""
    with serve("--workers", "2", gunicorn=gunicorn) as server:
        server.ready(2)
        before = {row["pid"]: row["cpu_seconds"] for row in server.status()["workers"]}
        assert server.get("/spin?s=0.5")[0] == 200

        def spun():
            rows = server.status()["workers"]
            return [row for row in rows if row["cpu_seconds"] - before[row["pid"]] > 0.3]

        (row,) = eventually(spun, "the time of the one that was busy")
        with open(f"/proc/{row['pid']}/statm") as file:
            assert row["rss_bytes"] == pytest.approx(int(file.read().split()[1]) * PAGE, rel=0.05)
        body = server.ask("/metrics")[1].decode()
        assert f'gunicorn_worker_resident_memory_bytes{{slot="{row["slot"]}"}}' in body


def test_lag(serve, gunicorn, background):
    """A worker in a C call that holds the interpreter is late by as long, during and after it; an
    idle one is not."""
    with serve("--workers", "2", gunicorn=gunicorn) as server:
        server.ready(2)

        def known():
            return [row["lag_seconds"] for row in server.status()["workers"]]

        def lags():
            return sorted(known())

        eventually(lambda: None not in known(), "a turn of both threads")
        eventually(lambda: lags()[1] < 0.5, "both in time")
        stuck, idle = [], []
        background.add(server.get, "/stick?s=4")

        def is_over():
            least, most = lags()
            stuck.append(most)
            idle.append(least)
            return server.status()["requests"] == 1

        eventually(is_over, "the end of the call")
        stuck.append(lags()[1])
        assert 2.5 <= max(stuck) <= 4.8  # a turn was due within a second of its begin
        assert max(idle) < 1
        eventually(lambda: lags()[1] < 0.5, "in time again")
