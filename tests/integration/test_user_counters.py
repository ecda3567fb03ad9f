"""Counters of the application's own, shared by all workers and shown in every format."""

import os
import signal

import pytest

from ..bounds import WAIT
from .load import Load
from .servers import connect, eventually

APP = "counting_app:app"
ENV = {"RAINDROPS_COUNTERS": "counting_app:stats"}
ARGS = ["--workers", "2", "--timeout", "600"]


def hold(server, held):
    client = connect(server.address)
    client.sendall(b"GET /hold HTTP/1.0\r\n\r\n")
    eventually(lambda: server.status()["counters"]["held"] == held, f"{held} held")
    return client


def test_counters_outlive_workers(serve, gunicorn):
    """All count together, exactly; a killed worker's own gauge goes with it, and nothing else."""
    args = [*ARGS, "--graceful-timeout", "1"]
    with serve(*args, app=APP, env=ENV, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(2)
        with Load(server.address, paths=["/"]) as load:
            load.more(100)
        eventually(lambda: server.status()["counters"]["hits"] == load.total, "exact")
        with hold(server, 2), hold(server, 4):
            assert server.text()["counters.held"] == 4
            victim = server.status()["workers"][0]["pid"]
            os.kill(victim, signal.SIGKILL)
            server.heals(victim, lambda status: status["counters"]["held"] == 2, "half of them")
            hits = load.total + 2
            assert server.status()["counters"] == {"hits": hits, "open": 2, "held": 2}
            samples = server.ask("/metrics")[1].decode().splitlines()
            assert f"gunicorn_app_hits_total {hits}.0" in samples
            assert "gunicorn_app_open 2.0" in samples
            assert "gunicorn_app_held 2.0" in samples


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["alone", "preload"])
def test_counters_outlive_generations(serve, gunicorn, preload):
    """HUP and USR2 under load: the application's module is loaded anew, its counters go on."""
    with serve(*ARGS, *preload, app=APP, env=ENV, gunicorn=gunicorn) as server:
        server.ready(2)
        with Load(server.address, rate=50, paths=["/"]) as load:
            load.more(10)
            server.renewed(lambda: server.send(signal.SIGHUP), 2)
            load.more(10)
            old = server.pid
            server.upgrade(2)
            load.more(10)
            server.end(old)
            load.more(10)
        assert load.broken == 0
        eventually(lambda: server.status()["counters"]["hits"] == load.total, "exact")
        assert server.warnings() == []


def test_counters_that_are_none(serve):
    """One line says what is wrong, and gunicorn does not start."""
    with serve(app=APP, env={"RAINDROPS_COUNTERS": "counting_app:app"}) as server:
        assert server.process.wait(WAIT) != 0
        server.logged(
            "Error: gunicorn-raindrops: counters: counting_app:app is not a Struct, but a"
        )
