"""What a figure of Prometheus's is, where it is not a field of the snapshot.

A figure with labels is a list of pairs: the labels' values, and the figure. None stands for one
that is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..scoreboard.records import HEADER, SOCKET
from ..snapshot import Snapshot

STATES = ("starting", "idle", "reading", "calling", "writing", "finishing")

Pairs = list[tuple[tuple[str, ...], Any]]


def _pairs(found: Iterable[tuple[str, Any]]) -> Pairs | None:
    """Return pairs for one label, without what is not known; None if nothing is left."""
    return [((value,), figure) for value, figure in found if figure is not None] or None


def info(sample: Snapshot) -> Pairs:
    """What runs. The figure is 1, as always where the labels say it all."""
    arbiter = sample.arbiter
    names = (arbiter.gunicorn, arbiter.python, arbiter.raindrops, arbiter.worker_class)
    return [(tuple(name or "" for name in names), 1)]


def states(sample: Snapshot) -> Pairs | None:
    """How many workers are in each state."""
    if sample.workers is None:
        return None
    found = [worker.state for worker in sample.workers]
    return _pairs((state, found.count(state)) for state in STATES)


def slots(sample: Snapshot) -> int | None:
    """How many workers can be counted."""
    return None if sample.scoreboard is None else len(sample.scoreboard)


def in_flight(sample: Snapshot) -> int:
    """How many requests are inside the workers."""
    return sample.calling + sample.writing


def oldest(sample: Snapshot) -> float | None:
    """For how long the oldest request has been in flight; 0 if there is none."""
    if sample.workers is None:
        return None
    found = [worker.current.seconds for worker in sample.workers if worker.current is not None]
    return max(found) if found else None if in_flight(sample) else 0.0


def socket_queue(sample: Snapshot) -> Any:
    """How long requests have waited, as the kernel says."""
    return None if sample.queue_seconds is None else sample.queue_seconds[SOCKET]


def header_queue(sample: Snapshot) -> Any:
    """How long requests have waited, as a proxy says; nothing where no header is ever read."""
    if sample.queue_seconds is None:
        return None
    found = sample.queue_seconds[HEADER]
    return found if sample.reads_headers or found.count else None


def busy(sample: Snapshot) -> Pairs | None:
    """For how long each slot has had requests."""
    if sample.busy_seconds is None:
        return None
    return _pairs((str(slot), seconds) for slot, seconds in enumerate(sample.busy_seconds))


def workers(name: str) -> Callable[[Snapshot], Pairs | None]:
    """Return what reads a figure of each worker, by slot."""

    def of(sample: Snapshot) -> Pairs | None:
        return _pairs((str(one.slot), getattr(one, name)) for one in sample.workers or ())

    return of


def items(name: str) -> Callable[[Snapshot], Pairs | None]:
    """Return what reads a mapping's items."""

    def of(sample: Snapshot) -> Pairs | None:
        mapping = getattr(sample, name)
        return None if mapping is None else _pairs(mapping.items())

    return of


def mark(name: str) -> Callable[[Snapshot], Pairs | None]:
    """Return what reads a high-water mark, by window."""

    def of(sample: Snapshot) -> Pairs | None:
        marks = [(window, most) for window, most in (sample.marks or {}).items() if most]
        return _pairs((window, getattr(most, name)) for window, most in marks)

    return of


def listeners(name: str) -> Callable[[Snapshot], Pairs | None]:
    """Return what reads a figure of each listener."""

    def of(sample: Snapshot) -> Pairs | None:
        return _pairs((_printable(one.address), getattr(one, name)) for one in sample.listeners)

    return of


def _printable(address: str) -> str:
    """Return a label's value: a path may hold bytes that are not UTF-8."""
    return address.encode(errors="surrogateescape").decode(errors="backslashreplace")
