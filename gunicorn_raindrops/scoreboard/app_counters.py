"""Users' own counters beside the server's: a `Struct` that all workers share.

Who owns what. The arbiter finds the Struct before its first fork, so its pages are every worker's.
A member annotated `WorkerGauge` has a cell per slot beside those pages: a worker that has taken a
slot updates its own cell, and nobody else does. A reader sums the cells of those who live, so what
a killed worker held goes with it; a cell is zeroed by the next worker that takes its slot, before
it shows itself there.

What fork does to it: a child that the application forks updates its parent's cell.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..shm import Raindrops, Struct
from . import board as scoreboard
from .records import SlotRecord


@dataclass(frozen=True)
class UserCounter:
    """One member's value at an instant, over all workers; `gauge`: it also goes down."""

    name: str
    gauge: bool
    value: int

    @property
    def family(self) -> str:
        """The name of its family for Prometheus."""
        return _family(self.name, gauge=self.gauge)


_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")


def _family(name: str, *, gauge: bool) -> str:
    """Return a family's name: Prometheus's formats give a counter's samples the end `_total`."""
    name = "gunicorn_app_" + _NOT_IN_NAMES.sub("_", name)
    return name if gauge else name.removesuffix("_total")


def _series(name: str, kind: str) -> set[str]:
    """Return the names that a member takes up: that of its family, and those of its samples."""
    family = _family(name, gauge=kind != "counter")
    return {family} if kind != "counter" else {family, f"{family}_total", f"{family}_created"}


def find(named: Struct | str) -> Struct:
    """Return the Struct that a setting names as MODULE:NAME, or is.

    Raises:
        ValueError: there is none; the message says why.
    """
    if isinstance(named, Struct):
        return named
    module, _, name = named.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"counters: {named}: {type(error).__name__}: {error}") from error
    if not isinstance(found, Struct):
        raise ValueError(f"counters: {named} is not a Struct, but a {type(found).__name__}")
    return found


def check(named: Struct | str | None) -> None:
    """See that the setting can be used.

    Raises:
        ValueError: there is no such Struct, or two of its members would have one name where
            Prometheus reads them.
    """
    if named is None:
        return
    taken: dict[str, str] = {}
    for name, kind in find(named).KINDS.items():
        for series in sorted(_series(name, kind)):
            if series in taken:
                raise ValueError(
                    f"counters: {taken[series]} and {name} would both be {series} for Prometheus; "
                    "rename one of them"
                )
            taken[series] = name


class UserCounters:
    """A Struct as the server shares and shows it.

    Args:
        stats: the user's.
        slots: of the scoreboard.
    """

    def __init__(self, stats: Struct, slots: int) -> None:
        self._stats = stats
        self._slots = slots
        self._per_worker = [name for name, kind in stats.KINDS.items() if kind == "worker gauge"]
        self._cells = Raindrops(len(self._per_worker) * slots) if self._per_worker else None

    def take_over(self, slot: int) -> None:
        """Have this process's worker gauges be those of a slot, from 0 on. The slot must be this
        process's, and not published yet: see `Scoreboard.take_over_slot`."""
        if self._cells is not None:
            for i, name in enumerate(self._per_worker):
                self._stats.move(name, self._cells, i * self._slots + slot)
                setattr(self._stats, name, 0)

    def read(self, rows: Iterable[SlotRecord]) -> tuple[UserCounter, ...]:
        """Return every member's value; `rows` are those of living workers."""
        taken = [row.slot for row in rows if row.state != scoreboard.CLAIMED]
        return tuple(
            UserCounter(name, kind != "counter", self._value(name, taken))
            for name, kind in self._stats.KINDS.items()
        )

    def _value(self, name: str, taken: list[int]) -> int:
        if self._cells is None or name not in self._per_worker:
            return self._stats[self._stats.MEMBERS.index(name)]
        first = self._per_worker.index(name) * self._slots
        return sum(self._cells[first + slot] for slot in taken) % 2**64

    # Through an upgrade.

    def descriptors(self) -> list[int]:
        """Return the descriptors of the memory."""
        return [self._stats.fileno()] + ([self._cells.fileno()] if self._cells else [])

    def shape(self) -> list[Any]:
        """Return what must be the same in an arbiter that is to go on with this memory."""
        return [list(self._stats.KINDS.items()), self._slots]

    def go_on_from(self, before: UserCounters | None) -> None:
        """Go on with the memory of an earlier conf's, if they have the same shape."""
        if before is not None and before.shape() == self.shape():
            self.adopt(before.descriptors())

    def adopt(self, descriptors: list[int]) -> None:
        """Go on with the memory of an earlier arbiter's, of the same shape.

        Raises:
            OSError: it cannot be mapped.
        """
        self._stats.adopt(descriptors[0])
        if self._cells is not None:
            self._cells.adopt(descriptors[1])
