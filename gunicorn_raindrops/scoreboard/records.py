"""What a reader gets of a scoreboard: frozen records, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..distribution import Distribution

SOCKET, HEADER = "socket", "header"
"""Who says how long a request has waited: the kernel, of its connection; a proxy, in a header."""


@dataclass(frozen=True)
class RequestRecord:
    """A request in flight, as a line of an access log has it. `path` has no query string;
    `seconds` have passed since its begin. `where` is what it was doing when it was last looked at,
    FILE:LINE in FUNCTION; None if nobody has looked, or it cannot be told."""

    method: str
    path: str
    seconds: float
    where: str | None = None


@dataclass(frozen=True)
class SlotRecord:
    """A slot whose owner lives. `started` is in seconds of the monotonic clock; `current` is the
    oldest of the owner's requests in flight. `reading` counts the connections that its threads hold
    without a request in flight; None where a connection holds no thread. `lag_seconds` is by how
    much its status thread is late; None if it has had no turn. `is_local`: the pid means this
    process in the reader's PID namespace."""

    slot: int
    pid: int
    state: int
    age: int
    started: float
    capacity: int
    requests: int
    calling: int
    writing: int
    websockets: int
    reading: int | None = None
    busy_seconds: float = 0.0
    lag_seconds: float | None = None
    is_local: bool = False
    current: RequestRecord | None = None


@dataclass(frozen=True)
class KillRecord:
    """A worker that was killed. `time` is Unix time; `current` is its oldest request and how long
    that had run, None if the worker was idle; `in_flight` counts all of its requests. `where` is
    what the oldest one was doing."""

    time: float
    slot: int
    pid: int
    age: int
    cause: str
    in_flight: int
    current: RequestRecord | None
    where: str | None = None


@dataclass(frozen=True)
class Marks:
    """High-water marks: the most that there were at once, in all workers, within some seconds.
    `queued` and `waiting` are the most that was seen; None where nobody looks."""

    calling: int
    writing: int
    queued: int | None
    waiting: int | None = None


class InFlight(NamedTuple):
    """What all slots hold together. `reading` is None where no connection holds a thread."""

    calling: int
    writing: int
    reading: int | None
    capacity: int


@dataclass(frozen=True)
class Moment:
    """What there was at once in one second, Unix time; None for what was not known. `capacity` is
    how many requests could run."""

    second: int
    calling: int | None
    writing: int | None
    reading: int | None
    waiting: int | None
    queued: int | None
    capacity: int | None


@dataclass(frozen=True)
class Reading:
    """The scoreboard at one instant. `responses` counts 1xx to 5xx; `rows` are by slot.

    `busy_seconds` are by slot, of all the owners that it ever had. `queue_seconds` are by source;
    `queue_ignored` counts the headers whose time is impossible. `workers_wanted` is the number that
    the arbiters mean to have, None without an arbiter.
    """

    slots: int
    untracked: int
    requests: int
    responses: tuple[int, ...]
    errors: int
    rows: tuple[SlotRecord, ...]
    request_seconds: Distribution = field(default_factory=Distribution)
    queue_seconds: Mapping[str, Distribution] = field(
        default_factory=lambda: {source: Distribution() for source in (SOCKET, HEADER)}
    )
    queue_ignored: int = 0
    busy_seconds: tuple[float, ...] = ()
    exits: Mapping[str, int] = field(default_factory=dict)
    killed: tuple[KillRecord, ...] = ()
    workers_wanted: int | None = None
