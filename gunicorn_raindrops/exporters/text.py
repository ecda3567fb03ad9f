"""A snapshot as the original's text, a line a figure. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..snapshot import Snapshot
from .printable import printable


def encode(snapshot: Snapshot) -> bytes:
    """Return the original's format, then how many wait inside and the user's own counters; a figure
    that is not known has no line."""
    status = {
        "calling": snapshot.calling,
        "writing": snapshot.writing,
        "listeners": [vars(listener) for listener in snapshot.listeners],
        "waiting": snapshot.waiting,
        "counters": {counter.name: counter.value for counter in snapshot.counters or ()},
    }
    return "".join(f"{line}\n" for line in lines(status)).encode()


def lines(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a status that is as JSON has it."""
    for name in ("calling", "writing"):
        yield f"{name}: {status[name]}"
    for listener in status["listeners"]:
        for name in ("active", "queued"):
            if listener[name] is not None:
                yield f"{printable(listener['address'])} {name}: {listener[name]}"
    if status["waiting"] is not None:
        yield f"waiting: {status['waiting']}"
    for name, value in (status["counters"] or {}).items():
        yield f"counters.{printable(name)}: {value}"
