"""Takes snapshots: the scoreboard, the listeners and the arbiter at one instant.

The scoreboard is read anew for each snapshot: it holds totals, and readers who ask several workers
in turn must never see one go back. Who waits inside is worked out from it and the listeners: see
`waiting`.

Nothing here writes to the scoreboard. Its high-water marks of who is queued and who waits are
raised by the workers, from what they sample.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from . import processes
from . import waiting as inside
from .listeners import InetDiagSocket
from .processes import Usage
from .reported import Listeners
from .scoreboard import board as scoreboard
from .scoreboard.app_counters import UserCounters
from .scoreboard.records import Marks, Reading, SlotRecord
from .snapshot import Arbiter, Snapshot, Worker

MARKS = {"10s": 10.0, "60s": 60.0}
"""Windows of high-water marks, beside the one that a reader asks for."""
_BOOT = time.time() - time.monotonic()
"""The monotonic clock's zero in Unix time: workers inherit it, so all of them tell one start."""

STATES = {
    scoreboard.CLAIMED: "starting",
    scoreboard.STARTING: "starting",
    scoreboard.READY: "idle",
    scoreboard.FINISHING: "finishing",
}
LETTERS = {
    "starting": "S",
    "idle": "_",
    "reading": "R",
    "calling": "C",
    "writing": "W",
    "finishing": "G",
}

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
"""Of statuses, in the order in which the scoreboard counts them."""


def _names(record: type) -> set[str]:
    return {field.name for field in dataclasses.fields(record)}


# What is taken over as it is.
_OF_READING = _names(Reading) & _names(Snapshot) - {"responses"}
_OF_SLOT = _names(SlotRecord) & _names(Worker) - {"age", "state", "started"}


class Board(Protocol):
    """What can be read like a scoreboard."""

    def read(self) -> Reading:
        """Return its state at this instant."""

    def marks(self, seconds: float, reading: Reading | None = None) -> Marks | None:
        """Return the high-water marks of the last seconds, up to and with `reading`."""


class Sampler:
    """Takes snapshots.

    Args:
        board: the scoreboard.
        arbiter: the process that runs the workers.
        sockets: the server's own listeners.
        others: addresses of more listeners to report.
        warn: called with a line when a part fails; it deals with lines that repeat.
        counters: the user's own.
        reads_headers: whether proxies say how long requests have waited.
        diag: a socket to ask the kernel through, which has its network namespace; None for a new
            one each time.
    """

    def __init__(
        self,
        board: Board,
        arbiter: Arbiter,
        sockets: list[Any],
        others: tuple[str, ...],
        warn: Callable[[str], None],
        counters: UserCounters | None = None,
        *,
        reads_headers: bool = False,
        diag: InetDiagSocket | None = None,
    ) -> None:
        self._board = board
        self._counters = counters
        self._arbiter = arbiter
        self._reads_headers = reads_headers
        self._listeners = Listeners(sockets, others, warn, diag)

    def take(self, since: float | None = None) -> Snapshot:
        """Return a snapshot of this instant, with the high-water marks since another, Unix time."""
        listeners = self._listeners.read()
        reading = self._board.read()
        calling = sum(row.calling for row in reading.rows)
        writing = sum(row.writing for row in reading.rows)
        reads = [row.reading for row in reading.rows if row.reading is not None]
        held = calling + writing + sum(reads)
        capacity = sum(row.capacity for row in reading.rows if row.state == scoreboard.READY)
        queued = sum(one.queued or 0 for one in listeners if one.own)
        known = all(one.queued is not None for one in listeners if one.own)
        waiting = inside.count(listeners, reading.rows)
        now, clock = time.time(), time.monotonic()
        return Snapshot(
            time=now,
            uptime=max(0.0, clock - self._arbiter.started),  # it may stand in the pages
            arbiter=dataclasses.replace(self._arbiter, workers_wanted=reading.workers_wanted),
            calling=calling,
            writing=writing,
            reading=sum(reads) if reads else None,
            waiting=waiting,
            websockets=sum(row.websockets for row in reading.rows),
            responses=dict(zip(CLASSES, reading.responses, strict=True)),
            capacity=capacity,
            utilization=_ratio(held, capacity),
            saturation=_ratio(held + queued + (waiting or 0), capacity) if known else None,
            scoreboard=_letters(reading),
            workers=_workers(reading.rows, now - clock),
            listeners=tuple(inside.at_most(one, waiting) for one in listeners),
            counters=None if self._counters is None else self._counters.read(reading.rows),
            marks=self._marks(since, queued, waiting, reading),
            queued=queued,
            started=_BOOT + self._arbiter.started,
            reads_headers=self._reads_headers,
            **{name: getattr(reading, name) for name in _OF_READING},
        )

    def queued(self) -> int:
        """Return how many connections wait at the server's own listeners, as far as is known."""
        return self._listeners.queued()

    def waiting(self) -> int | None:
        """Return how many requests wait inside. None: it is not known, or was counted a moment ago
        and took long."""
        if time.monotonic() < self._listeners.rested_at:
            return None
        return inside.count(self._listeners.read(), self._board.read().rows)

    def _marks(
        self, since: float | None, queued: int, waiting: int | None, reading: Reading
    ) -> Mapping[str, Marks | None]:
        windows = dict(MARKS)
        if since is not None:
            windows["since"] = time.time() - since
        marks = {name: self._board.marks(seconds, reading) for name, seconds in windows.items()}
        return {name: mark and _including(mark, queued, waiting) for name, mark in marks.items()}


def mark(sampler: Sampler, board: scoreboard.Scoreboard) -> tuple[int, int | None]:
    """Raise the high-water marks of queued connections and of requests that wait; return both."""
    queued, waiting = sampler.queued(), sampler.waiting()
    board.saw_queued(queued)
    board.saw_waiting(waiting)
    return queued, waiting


def marking(sampler: Sampler, board: scoreboard.Scoreboard) -> Callable[..., Snapshot]:
    """Return what takes snapshots in a worker, whose readers raise these marks as well."""

    def take(since: float | None = None) -> Snapshot:
        snapshot = sampler.take(since)
        board.saw_queued(snapshot.queued)
        board.saw_waiting(snapshot.waiting)
        return snapshot

    return take


_of_this_process: list[Callable[[], Snapshot]] = []


def set_for_this_process(take: Callable[[], Snapshot]) -> None:
    """Have `for_this_process` return this from now on."""
    _of_this_process[:] = [take]


def for_this_process() -> Callable[[], Snapshot] | None:
    """Return what takes a snapshot of the server that this process is a worker of."""
    return _of_this_process[0] if _of_this_process else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _including(mark: Marks, queued: int, waiting: int | None) -> Marks:
    """Return a mark that is no lower than what was just seen."""
    most = None if waiting is None else max(mark.waiting or 0, waiting)
    return dataclasses.replace(mark, queued=max(mark.queued or 0, queued), waiting=most)


def _state(row: SlotRecord) -> str:
    if row.state == scoreboard.READY and row.calling:
        return "calling"
    if row.state == scoreboard.READY and row.writing:
        return "writing"
    if row.state == scoreboard.READY and row.reading:
        return "reading"
    return STATES.get(row.state, "starting")


def _workers(rows: tuple[SlotRecord, ...], boot: float) -> tuple[Worker, ...]:
    """Return what is shown of slots; `boot` is the monotonic clock's zero in Unix time."""
    # the pid of a slot that is only claimed is the arbiter's
    here = [row for row in rows if row.is_local and row.state != scoreboard.CLAIMED]
    slots, usage = [row.slot for row in here], processes.usage([row.pid for row in here])
    used = dict(zip(slots, usage, strict=True))
    return tuple(_worker(row, boot, used.get(row.slot, processes.UNKNOWN)) for row in rows)


def _worker(row: SlotRecord, boot: float, used: Usage) -> Worker:
    forked, figures = row.state != scoreboard.CLAIMED, vars(row)
    return Worker(
        age=row.age if forked else None,
        state=_state(row),
        started=boot + row.started if forked else None,
        cpu_seconds=used.cpu_seconds,
        rss_bytes=used.rss_bytes,
        **{name: figures[name] for name in _OF_SLOT},
    )


def _letters(reading: Reading) -> str:
    letters = ["."] * reading.slots
    for row in reading.rows:
        letters[row.slot] = LETTERS[_state(row)]
    return "".join(letters)
