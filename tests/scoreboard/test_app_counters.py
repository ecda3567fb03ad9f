"""Users' own counters: how they are found, told apart, shared and reclaimed."""

import dataclasses
import functools
import json
import os
import signal
import sys
import types

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from gunicorn_raindrops import Gauge, Struct, WorkerGauge
from gunicorn_raindrops.counting import attached
from gunicorn_raindrops.exporters import json as render
from gunicorn_raindrops.exporters import prometheus, text
from gunicorn_raindrops.scoreboard import app_counters as user_counters
from gunicorn_raindrops.scoreboard.app_counters import UserCounter, UserCounters
from gunicorn_raindrops.scoreboard.board import Scoreboard

from ..exporters.test_json import SNAPSHOT

SLOTS = 4


class Stats(Struct):
    jobs: int
    depth: Gauge
    open: WorkerGauge


class Textual(Struct):
    """As under `from __future__ import annotations`."""

    jobs: "int"
    depth: "'Gauge'"  # quoted in such a module
    open: "gunicorn_raindrops.WorkerGauge"  # noqa: F821  # only its name is looked at


class More(Stats):
    failed: int


@pytest.fixture
def stats():
    with Stats() as stats:
        yield stats


@pytest.fixture
def board():
    board = Scoreboard(SLOTS)
    yield board
    os.close(board.fileno())


def struct(**kinds):
    """Return a Struct whose members are named and annotated so."""
    return type("Named", (Struct,), {"__annotations__": kinds})()


@pytest.mark.parametrize(
    "kinds",
    [
        {"grösse": int, "grüsse": int},
        {"jobs": int, "jobs_total": int},
        {"jobs": int, "jobs_total": Gauge},
        {"jobs_total": int, "jobs": WorkerGauge},
    ],
    ids=" ".join,
)
def test_two_of_one_name(kinds):
    """Prometheus would get both under one name: refused, in one line that names them."""
    first, second = kinds
    with struct(**kinds) as stats:
        with pytest.raises(
            ValueError, match=rf"^counters: {first} and {second} would both be \w+ "
        ):
            user_counters.check(stats)


def test_names_that_differ():
    """Where they are the same only in part."""
    with struct(jobs=int, jobs_done=int, total=Gauge, jobs_=Gauge) as stats:
        user_counters.check(stats)


def seated(counters, board, work):
    """Fork a worker that takes a slot and does some work; return what kills it."""
    claim = board.claim()
    ready, said = os.pipe()
    pid = os.fork()
    if not pid:
        zero = functools.partial(counters.take_over, claim.slot)
        attached.take_over(board, claim, 1, 1, prepare=zero)
        work()
        os.write(said, b".")
        while True:
            signal.pause()
    os.close(said)
    try:
        assert os.read(ready, 1) == b"."
    finally:
        os.close(ready)

    def stop():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    return stop


def values(counters, board):
    return {one.name: one.value for one in counters.read(board.read().rows)}


# What they are.


@pytest.mark.parametrize("kind", [Stats, Textual])
def test_kinds(kind):
    """Annotations tell counters, gauges and worker gauges apart, also as text."""
    assert kind.KINDS == {"jobs": "counter", "depth": "gauge", "open": "worker gauge"}
    assert {**More.KINDS} == {**Stats.KINDS, "failed": "counter"}


def test_alone(stats):
    """Without a server a gauge of either kind is a counter like any other."""
    stats.incr_open(3)
    stats.decr_depth()
    assert stats.as_dict() == {"jobs": 0, "depth": 2**64 - 1, "open": 3}


# How they are found.


@pytest.fixture
def found(stats, monkeypatch):
    """Have a module hold a Struct, at its top and deeper."""
    module = types.ModuleType("holding")
    module.stats, module.inside = stats, types.SimpleNamespace(stats=stats)
    monkeypatch.setitem(sys.modules, "holding", module)
    return stats


def test_found(found):
    """By name, however deep, or as they are."""
    assert user_counters.find("holding:stats") is found
    assert user_counters.find("holding:inside.stats") is found
    assert user_counters.find(found) is found


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("no_such_module:stats", "ModuleNotFoundError"),
        ("holding:nothing", "AttributeError"),
        ("holding:inside.nothing.still", "AttributeError"),
        ("holding:inside", "is not a Struct"),
        ("os:path", "is not a Struct"),
    ],
)
@pytest.mark.usefixtures("found")
def test_not_found(named, why):
    """The line says which, and why."""
    with pytest.raises(ValueError, match=why) as caught:
        user_counters.find(named)
    assert str(caught.value).startswith(f"counters: {named}")
    assert len(str(caught.value).splitlines()) == 1


# How they are shared.


def test_counted_by_all(stats, board):
    """Counters and gauges are one for all; a worker gauge is the sum over the workers."""
    counters = UserCounters(stats, SLOTS)

    def work():
        stats.incr_jobs(2)
        stats.incr_depth(5)
        stats.incr_open(10)

    stops = [seated(counters, board, work) for _ in range(3)]
    assert values(counters, board) == {"jobs": 6, "depth": 15, "open": 30}
    assert counters.read(board.read().rows)[0] == UserCounter("jobs", False, 6)
    assert [one.gauge for one in counters.read([])] == [False, True, True]
    for stop in stops:
        stop()
    assert values(counters, board) == {"jobs": 6, "depth": 15, "open": 0}


def test_a_dead_workers_gauge_is_not_its_successors(stats, board):
    """The next worker in the slot begins at 0, and reads and sets what is its own."""
    counters = UserCounters(stats, SLOTS)
    seated(counters, board, lambda: stats.incr_open(10))()
    board.reap()
    seen = os.pipe()

    def work():
        first = stats.open
        stats.open = 7
        os.write(seen[1], json.dumps([first, stats.as_dict()["open"], stats[2]]).encode())

    stop = seated(counters, board, work)
    assert json.loads(os.read(seen[0], 100)) == [0, 7, 7]
    assert values(counters, board)["open"] == 7
    stop()
    for fd in seen:
        os.close(fd)


def test_going_on(stats, board):
    """Another Struct of the same shape goes on with the same memory, one of another does not."""
    before = UserCounters(stats, SLOTS)
    stats.incr_jobs(5)
    with Stats() as later, More() as other:
        after = UserCounters(later, SLOTS)
        after.go_on_from(before)
        assert later.jobs == 5
        later.incr_jobs()
        assert stats.jobs == 6
        stop = seated(before, board, lambda: stats.incr_open(3))
        assert values(after, board) == {"jobs": 6, "depth": 0, "open": 3}
        stop()
        UserCounters(other, SLOTS).go_on_from(before)
        assert other.jobs == 0


# How they are shown.


def test_shown():
    """In text behind the originals' lines, in JSON by name, to Prometheus by kind."""
    own = (UserCounter("jobs", False, 5), UserCounter("größe", True, 2))
    sample = dataclasses.replace(SNAPSHOT, counters=own)
    assert text.encode(sample).endswith("counters.jobs: 5\ncounters.größe: 2\n".encode())
    assert json.loads(render.encode(sample))["counters"] == {"jobs": 5, "größe": 2}
    body, _ = prometheus.encode(sample, None)
    found = {family.name: family for family in families(body.decode())}
    assert found["gunicorn_app_jobs"].type == "counter"
    assert found["gunicorn_app_jobs"].samples[0][:3] == ("gunicorn_app_jobs_total", {}, 5)
    assert found["gunicorn_app_gr__e"].samples[0].value == 2
