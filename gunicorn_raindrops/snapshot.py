"""What was sampled: the server at one instant, as frozen data.

The formats walk these records. In JSON a field's name is its key, and keys come in the order of
the fields; see `exporters/json.py` for the few that differ. A field of `Snapshot` that has the name
of a field of the scoreboard's reading is taken over from there as it is, and so is a field of
`Worker` from the record of a slot: see `sampler.py`.

None stands for a figure that this kernel or server cannot give.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from .distribution import Distribution
from .scoreboard.app_counters import UserCounter
from .scoreboard.records import KillRecord, Marks, RequestRecord

PYTHON = ".".join(map(str, sys.version_info[:3]))

HIDDEN = {"hidden": True}
"""Metadata of a field that exporters may use, and that is not shown by itself."""


@dataclass(frozen=True)
class Arbiter:
    """The process that runs the workers; None for what only gunicorn has.

    `started` is in seconds of the monotonic clock. `workers_wanted` is the number of workers that
    the arbiter means to have, those of both generations during an upgrade.
    """

    pid: int
    gunicorn: str | None
    raindrops: str
    worker_class: str | None
    started: float = field(metadata=HIDDEN)
    workers_wanted: int | None = None
    python: str = field(default=PYTHON, metadata=HIDDEN)


@dataclass(frozen=True)
class Worker:
    """One worker.

    `age` is gunicorn's ordinal, `started` Unix time; neither is known of a worker that is about to
    be forked, and its pid is the arbiter's until then. `busy_seconds` says for how long it had
    requests, those in flight included. `current` is the oldest of them. `reading` is as a
    Snapshot's. `cpu_seconds` and `rss_bytes` are what its process uses. `lag_seconds` is by how
    much the last turn of its status thread came late, or the next one is overdue.
    """

    slot: int
    pid: int
    age: int | None
    state: str
    calling: int
    writing: int
    reading: int | None
    websockets: int
    requests: int
    busy_seconds: float | None
    started: float | None
    cpu_seconds: float | None
    rss_bytes: int | None
    lag_seconds: float | None
    current: RequestRecord | None


@dataclass(frozen=True)
class Listener:
    """One listener. `own`: it is one of this server's. No more wait inside at one of these than at
    all of them. `bodies` are those that wait and have more unread than the head of a request."""

    address: str
    family: str
    own: bool = field(metadata=HIDDEN)
    active: int | None
    queued: int | None
    waiting: int | None = field(default=None, kw_only=True)
    bodies: int | None = field(default=None, kw_only=True, metadata=HIDDEN)
    backlog: int | None
    dropped: int | None


@dataclass(frozen=True)
class Snapshot:
    """The server at one instant. `time` is Unix time, `uptime` seconds.

    `reading` counts the connections that threads hold without a request in flight; None where a
    connection holds no thread. `waiting` inside are requests that nobody has read yet: see
    `waiting.py`. `utilization` is requests in flight and connections read, over capacity;
    `saturation` adds those that wait inside and the connections that are queued.
    `busy_seconds` are by slot, of all workers that a slot ever had: each only grows.
    `queue_seconds` are by source, SOCKET and HEADER of the scoreboard; `exits` by cause. `killed`
    has the last workers that were killed, the latest first. `queued` is the number of connections
    that wait at the server's own listeners, as far as it is known. `started` is when the server
    started, Unix time, the same in each snapshot. `reads_headers` says whether proxies' headers are
    read.
    """

    time: float
    uptime: float
    arbiter: Arbiter
    calling: int
    writing: int
    reading: int | None
    waiting: int | None
    websockets: int | None
    requests: int | None
    responses: Mapping[str, int] | None
    errors: int | None
    capacity: int | None
    utilization: float | None
    saturation: float | None
    scoreboard: str | None
    request_seconds: Distribution | None
    queue_seconds: Mapping[str, Distribution] | None
    busy_seconds: tuple[float, ...] | None
    marks: Mapping[str, Marks | None] | None
    workers: tuple[Worker, ...] | None
    untracked: int | None
    exits: Mapping[str, int] | None
    killed: tuple[KillRecord, ...] | None
    listeners: tuple[Listener, ...]
    counters: tuple[UserCounter, ...] | None
    queue_ignored: int | None = field(metadata=HIDDEN)
    queued: int = field(metadata=HIDDEN)
    started: float = field(metadata=HIDDEN)
    reads_headers: bool = field(default=False, metadata=HIDDEN)
