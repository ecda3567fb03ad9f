"""The sampler: its thread, peaks and resets, failures, what it forgets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gunicorn_raindrops import ListenStats
from gunicorn_raindrops.watcher import sampling
from gunicorn_raindrops.watcher.sampling import Sampler

from ..bounds import WAIT
from ..conftest import settled
from .stepped import when_awaited


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now


class Lab:
    """A sampler of one listener "a" whose thread takes the first sample, and no other."""

    def __init__(self) -> None:
        self.found: Any = {"a": ListenStats(0, 0, 0, 0)}
        self.warnings: list[str] = []
        self.sampler = Sampler(self._read, 3600, self.warnings.append)

    def _read(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def sample(self, *active: int) -> None:
        for number in active:
            self.found = {"a": ListenStats(number, 0, 0, 0)}
            self.sampler.sample()

    def peaks(self) -> tuple[float, float]:
        figures = self.sampler.figures("a", 0)
        return figures.first_peak, figures.last_peak


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sampling.time, "time", clock.time)
    return clock


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    lab.sampler.close()


def test_peaks(clock: Clock, lab: Lab) -> None:
    """First and last of the highest; the first sample and zeros are none; a reset keeps them."""
    clock.now = 1000.5
    lab.sample(0, 0)
    assert lab.peaks() == (1000, 1000)
    for clock.now, number, expected in [
        (1001.0, 4, (1001, 1001)),
        (1002.0, 3, (1001, 1001)),
        (1003.0, 4, (1001, 1003)),
        (1004.0, 5, (1004, 1004)),
    ]:
        lab.sample(number)
        assert lab.peaks() == expected
    clock.now = 1005.0
    when_awaited(lab.sampler, lab.sample, 9)
    assert lab.sampler.reset("a")
    figures = lab.sampler.figures("a", 0)
    assert (figures.aggregate.count, figures.last_reset, figures.current) == (1, 1005, 9)
    assert lab.peaks() == (1004, 1004)


def test_a_reset_waits_in_vain(monkeypatch: Any, lab: Lab) -> None:
    """No longer than PATIENCE; the figures are empty until there is a sample."""
    monkeypatch.setattr(Sampler.wait, "__defaults__", (0.01,))
    lab.sample(3)
    assert lab.sampler.reset("a")
    assert lab.sampler.figures("a", 0).aggregate.count == 0
    assert not lab.sampler.reset("b")


def test_the_thread() -> None:
    """It starts once, samples each delay, and ends with close, as does who waits."""
    turns = threading.Semaphore(0)

    def read() -> dict[str, ListenStats]:
        turns.release()
        return {}

    sampler = Sampler(read, 0.01, print)
    before = threading.active_count()
    assert sampler.snapshot.turn == 0
    sampler.start()
    sampler.start()
    assert threading.active_count() == before + 1
    assert all(turns.acquire(timeout=WAIT) for _ in range(3))
    seen: list[Any] = []
    waiting = threading.Thread(target=lambda: seen.append(sampler.wait(10**9, None)))
    waiting.start()
    sampler.close()
    waiting.join(WAIT)
    assert seen[0].is_last
    assert settled(threading.active_count, before) == before
    sampler.close()


def test_two_first_requests(lab: Lab) -> None:
    """Begin one thread, and get its first sample both."""
    asked, gate = threading.Semaphore(0), threading.Event()
    read = lab._read

    def slow() -> Any:
        asked.release()
        gate.wait(WAIT)
        return read()

    lab.sampler._read = slow
    starting = [threading.Thread(target=lab.sampler.start) for _ in range(2)]
    for thread in starting:
        thread.start()
    waiters = lab.sampler._turned._waiters  # type: ignore[attr-defined]
    assert settled(lambda: len(waiters), 2) == 2
    gate.set()
    for thread in starting:
        thread.join(WAIT)
    assert asked.acquire(timeout=WAIT)
    assert not asked.acquire(blocking=False)
    assert lab.sampler.figures("a", 0).aggregate.count == 1


def test_figures_are_of_one_instant(lab: Lab) -> None:
    """What comes later does not change them."""
    lab.sample(1)
    figures = lab.sampler.figures("a", 0)
    lab.sample(2)
    assert figures.aggregate.count == 1


def test_a_failing_query(lab: Lab) -> None:
    """Is told, counts no sample, and the next one counts again."""
    lab.found = OSError(1, "not permitted")
    lab.sampler.start()
    assert lab.warnings == [
        "the listeners cannot be read: PermissionError: [Errno 1] not permitted"
    ]
    assert lab.sampler.snapshot.listeners == {}
    lab.sample(2)
    last = lab.sampler.snapshot
    lab.found = OSError(1, "not permitted")
    lab.sampler.sample()
    assert lab.sampler.snapshot == last._replace(turn=last.turn + 1)
    lab.sample(3)
    assert lab.sampler.figures("a", 0).aggregate.sum == 5


def test_an_unknown_figure_is_no_zero(lab: Lab) -> None:
    """A listener of which the kernel does not tell both figures is left out."""
    lab.found = {"a": ListenStats(None, 1, 1, 1), "b": ListenStats(1, 0, 0, 0)}
    lab.sampler.sample()
    assert lab.sampler.snapshot.listeners == {"b": (1, 0)}


def test_the_gone_are_forgotten(monkeypatch: Any, lab: Lab) -> None:
    """Beyond some thousands: the longest known first, never one that is there."""
    monkeypatch.setattr(sampling, "MOST_GONE", 3)
    for i in range(10):
        lab.found = {"a": ListenStats(1, 0, 0, 0), f"@{i}": ListenStats(i, 0, 0, 0)}
        lab.sampler.sample()
    assert list(lab.sampler._series) == ["a", "@6", "@7", "@8", "@9"]
    lab.found["@6"] = ListenStats(7, 0, 0, 0)
    lab.sampler.sample()
    assert lab.sampler.figures("@6", 0).aggregate.sum == 13
    assert lab.sampler.figures("@8", 0).aggregate.count == 0
