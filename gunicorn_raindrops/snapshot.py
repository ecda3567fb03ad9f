"""One sample of the server, frozen: scoreboard, listeners and arbiter at one instant.

The scoreboard is read anew for each sample, and so is each listener's queue: both hold totals,
and readers who ask several workers in turn must never see one go back. Counting the accepted
connections of a busy listener costs the kernel milliseconds, so that one figure, a gauge, serves
all who ask within ten times as long as it took, up to a tenth of a second.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from . import listeners as kernel
from .distribution import Distribution
from .listeners import ListenStats
from .scoreboard import board as scoreboard
from .scoreboard.app_counters import UserCounter, UserCounters
from .scoreboard.records import KillRecord, Marks, Reading, RequestRecord, SlotRecord

MARKS = {"10s": 10.0, "60s": 60.0}
"""Windows of high-water marks, beside the one that a reader asks for."""
ACTIVE_AGE = 0.1  # seconds at most that a count of connections is good for
ACTIVE_SHARE = 10  # and times as long as it took

STATES = {
    scoreboard.CLAIMED: "starting",
    scoreboard.STARTING: "starting",
    scoreboard.READY: "idle",
    scoreboard.FINISHING: "finishing",
}
LETTERS = {"starting": "S", "idle": "_", "calling": "C", "writing": "W", "finishing": "G"}

CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
"""What `Snapshot.responses` counts, in its order."""

UNKNOWN = ListenStats(None, None, None, None)


@dataclass(frozen=True)
class Arbiter:
    """Who runs the workers; None for what another server than gunicorn does not have.

    `started` is in seconds of the monotonic clock.
    """

    pid: int
    gunicorn: str | None
    raindrops: str
    worker_class: str | None
    started: float


@dataclass(frozen=True)
class Worker:
    """One worker. `age` is gunicorn's ordinal, `started` Unix time, `current` the oldest of the
    requests that are inside; `busy_seconds` how long requests have been, these included. Of one
    that is about to be forked, whose pid is the arbiter's so far, age and start are not known."""

    slot: int
    pid: int
    age: int | None
    state: str
    calling: int
    writing: int
    websockets: int
    requests: int
    started: float | None
    busy_seconds: float | None = None
    current: RequestRecord | None = None


@dataclass(frozen=True)
class Listener:
    """One listener; None for a figure that this kernel cannot give. `own`: of this server."""

    address: str
    family: str
    own: bool
    active: int | None
    queued: int | None
    backlog: int | None
    dropped: int | None


@dataclass(frozen=True)
class Snapshot:
    """The server at one instant. `time` is Unix time, `uptime` seconds.

    None stands for what cannot be known, as where the user's own counters are all there is.
    `busy_seconds` are by slot, of all the workers that it ever had: each only grows. The keys of
    `queue_seconds` are records.SOCKET and HEADER, those of `exits` are in `exits`; `killed` has
    the last few, the latest first.
    """

    time: float
    uptime: float
    arbiter: Arbiter
    calling: int
    writing: int
    websockets: int | None
    requests: int | None
    responses: tuple[int, ...] | None
    errors: int | None
    capacity: int | None
    untracked: int | None
    scoreboard: str | None
    workers: tuple[Worker, ...] | None
    listeners: tuple[Listener, ...]
    counters: tuple[UserCounter, ...] | None = None
    request_seconds: Distribution | None = None
    queue_seconds: Mapping[str, Distribution] | None = None
    queue_ignored: int | None = None
    busy_seconds: tuple[float, ...] | None = None
    exits: Mapping[str, int] | None = None
    killed: tuple[KillRecord, ...] | None = None
    marks: Mapping[str, Marks | None] | None = None

    @property
    def utilization(self) -> float | None:
        """Requests in flight over capacity; None without a worker, or where unknown."""
        return _ratio(self.calling + self.writing, self.capacity)

    @property
    def saturation(self) -> float | None:
        """Requests in flight and connections waiting, over capacity; None where unknown."""
        queued = 0
        for listener in self.listeners:
            if listener.own and listener.queued is None:
                return None
            queued += (listener.queued or 0) if listener.own else 0
        return _ratio(self.calling + self.writing + queued, self.capacity)


def _ratio(part: int, whole: int | None) -> float | None:
    return part / whole if whole else None


def name_of(family: int, address: Any) -> str:
    """Return a listener's address as the status shows it, from what getsockname() gives."""
    if family == socket.AF_INET6:
        return f"[{address[0]}]:{address[1]}"
    if family == socket.AF_INET:
        return f"{address[0]}:{address[1]}"
    if isinstance(address, bytes):
        return "@" + address[1:].decode(errors="surrogateescape")
    return str(address)


FAMILIES = {socket.AF_INET: "inet", socket.AF_INET6: "inet6", socket.AF_UNIX: "unix"}


def _family(address: str) -> str:
    """Tell the family of an address that was configured, not of a socket that we have."""
    if address.startswith("["):
        return "inet6"
    return "unix" if address.startswith(("/", "@")) or ":" not in address else "inet"


class Board(Protocol):
    """What can be read like a scoreboard."""

    def read(self) -> Reading:
        """Return its state at this instant."""

    def saw_queued(self, queued: int) -> None:
        """Take notice of how many connections wait."""

    def marks(self, seconds: float) -> Marks | None:
        """Return the high-water marks of the last seconds."""


class Sampler:
    """Takes snapshots.

    Args:
        board: the scoreboard.
        arbiter: who runs the workers.
        sockets: the server's own listeners.
        others: addresses of more listeners to report.
        warn: called with a line when a part fails; a repeated line is its affair.
        counters: the user's own.
    """

    def __init__(
        self,
        board: Board,
        arbiter: Arbiter,
        sockets: list[Any],
        others: tuple[str, ...],
        warn: Callable[[str], None],
        counters: UserCounters | None = None,
    ) -> None:
        self._board = board
        self._counters = counters
        self._arbiter = arbiter
        self._own = {name_of(sock.family, sock.getsockname()): sock for sock in sockets}
        names = dict.fromkeys((*self._own, *others))
        self._families = {name: _family(name) for name in names}
        self._families |= {name: FAMILIES[sock.family] for name, sock in self._own.items()}
        self._inet = [name for name in names if self._families[name] != "unix"]
        self._unix = [name for name in names if self._families[name] == "unix"]
        self._warn = warn
        self._active: dict[str, int | None] = {}
        self._active_until = 0.0

    def take(self, since: float | None = None) -> Snapshot:
        """Return a snapshot of this instant, with the high-water marks since another, Unix time."""
        listeners = self._listeners()
        self._board.saw_queued(sum(one.queued or 0 for one in listeners if one.own))
        reading = self._board.read()
        return Snapshot(
            time=time.time(),
            uptime=time.monotonic() - self._arbiter.started,
            arbiter=self._arbiter,
            calling=sum(row.calling for row in reading.rows),
            writing=sum(row.writing for row in reading.rows),
            websockets=sum(row.websockets for row in reading.rows),
            requests=reading.requests,
            responses=reading.responses,
            errors=reading.errors,
            capacity=sum(row.capacity for row in reading.rows if row.state == scoreboard.READY),
            untracked=reading.untracked,
            scoreboard=_letters(reading),
            workers=tuple(_worker(row) for row in reading.rows),
            listeners=listeners,
            counters=None if self._counters is None else self._counters.read(reading.rows),
            request_seconds=reading.request_seconds,
            queue_seconds=reading.queue_seconds,
            queue_ignored=reading.queue_ignored,
            busy_seconds=reading.busy_seconds,
            exits=reading.exits,
            killed=reading.killed,
            marks=self._marks(since),
        )

    def look(self) -> None:
        """Take notice of how many connections wait, for the marks."""
        inet = [name for name in self._inet if name in self._own]
        unix = [name for name in self._unix if name in self._own]
        stats = {
            **self._ask(kernel.tcp_listener_stats, inet, False),
            **self._ask(kernel.unix_listener_stats, unix, False),
        }
        self._board.saw_queued(sum(one.queued or 0 for one in stats.values()))

    def _marks(self, since: float | None) -> Mapping[str, Marks | None]:
        windows = dict(MARKS)
        if since is not None:
            windows["since"] = time.time() - since
        return {name: self._board.marks(seconds) for name, seconds in windows.items()}

    def _listeners(self) -> tuple[Listener, ...]:
        if not self._families:
            return ()
        began = time.monotonic()
        count = began >= self._active_until
        stats = {
            **self._ask(kernel.tcp_listener_stats, self._inet, count),
            **self._ask(kernel.unix_listener_stats, self._unix, count),
        }
        if count:
            self._active = {name: stat.active for name, stat in stats.items()}
            now = time.monotonic()
            self._active_until = now + min(ACTIVE_AGE, ACTIVE_SHARE * (now - began))
        return tuple(self._listener(name, stats[name]) for name in self._families)

    def _listener(self, name: str, stat: ListenStats) -> Listener:
        return Listener(
            address=name,
            family=self._families[name],
            own=name in self._own,
            active=self._active.get(name),
            queued=stat.queued,
            backlog=stat.backlog,
            dropped=stat.dropped,
        )

    def _ask(
        self, stats: Callable[..., dict[str, ListenStats]], names: list[str], count: bool
    ) -> dict[str, ListenStats]:
        if not names:
            return {}
        try:
            return stats(names, active=count)
        except Exception as error:  # whatever it is, the rest of the status must be answered
            self._warn(f"listeners cannot be read from the kernel: {error}")
            return {name: self._from_descriptor(name) for name in names}

    def _from_descriptor(self, name: str) -> ListenStats:
        """What a listener's own descriptor tells without netlink."""
        try:
            return kernel.descriptor_stats(self._own[name].fileno())
        except (KeyError, OSError):
            return UNKNOWN


_here: list[Callable[[], Snapshot]] = []


def serve_here(take: Callable[[], Snapshot]) -> None:
    """Have `here` return this from now on, in this process."""
    _here[:] = [take]


def here() -> Callable[[], Snapshot] | None:
    """Return what takes a snapshot of the server that this process is a worker of."""
    return _here[0] if _here else None


def _state(row: SlotRecord) -> str:
    if row.state == scoreboard.READY and row.calling:
        return "calling"
    if row.state == scoreboard.READY and row.writing:
        return "writing"
    return STATES.get(row.state, "starting")


def _worker(row: SlotRecord) -> Worker:
    forked = row.state != scoreboard.CLAIMED
    return Worker(
        slot=row.slot,
        pid=row.pid,
        age=row.age if forked else None,
        state=_state(row),
        calling=row.calling,
        writing=row.writing,
        websockets=row.websockets,
        requests=row.requests,
        busy_seconds=row.busy_seconds,
        current=row.current,
        started=time.time() - time.monotonic() + row.started if forked else None,
    )


def _letters(reading: Reading) -> str:
    letters = ["."] * reading.slots
    for row in reading.rows:
        letters[row.slot] = LETTERS[_state(row)]
    return "".join(letters)
