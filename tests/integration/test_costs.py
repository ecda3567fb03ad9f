"""What a worker costs, and how long it lets a thread wait for the interpreter."""

import os
import time

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
        seen, began = [], time.monotonic()
        background.add(server.get, "/stick?s=4")

        def is_over():
            seen.append(lags())
            return server.status()["requests"] == 1

        eventually(is_over, "the end of the call")
        seen.append(lags())
        # a turn was due within a second of its begin
        assert 2.5 <= max(most for _, most in seen) <= time.monotonic() - began
        assert any(least < 0.5 and most > 1.5 for least, most in seen)
        eventually(lambda: lags()[1] < 0.5, "in time again")
