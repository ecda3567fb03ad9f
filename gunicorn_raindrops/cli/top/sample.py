"""A status as `top` takes it: typed, each figure checked. Pure.

A status may be one that anybody has written. A figure that is none is None here, and a text is one
of bounded length; escaping is left to who draws it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..terminal import Failed

_LONGEST = 1024  # letters of a text: no terminal shows more of one in a line
_MOST_LETTERS = 65536  # of a scoreboard: its slots
_BOUND = 1e15

Status = Mapping[str, Any]


class Request(NamedTuple):
    """A request in flight; `where` is the line that it stands at, once it has run for a while."""

    method: str
    path: str
    seconds: float | None
    where: str


class Worker(NamedTuple):
    """A worker. `rate` is in requests a second, `load` in processors; see `rates`."""

    slot: int
    pid: int
    state: str
    requests: float | None
    cpu_seconds: float | None
    rss_bytes: float | None
    current: Request | None
    rate: float | None = None
    load: float | None = None


class Listener(NamedTuple):
    """A listener."""

    address: str
    active: float | None
    queued: float | None
    waiting: float | None
    backlog: float | None
    dropped: float | None


class Kill(NamedTuple):
    """A worker that was killed."""

    time: float | None
    pid: int
    cause: str
    current: Request | None


class Sample(NamedTuple):
    """A server at one instant.

    Attributes:
        time: Unix time.
        server: what it runs, as far as is known.
        figures: of the whole server, by name.
        requests: how many have ended, to make a rate of.
    """

    time: float
    uptime: float | None
    server: str
    wanted: float | None
    figures: dict[str, float | None]
    requests: float | None
    scoreboard: str
    workers: tuple[Worker, ...]
    listeners: tuple[Listener, ...]
    exits: dict[str, float | None]
    killed: tuple[Kill, ...]


def parse(status: Status) -> Sample:
    """Return what a status says.

    Raises:
        Failed: it is none.
    """
    try:
        return _parse(status)
    except (TypeError, LookupError, AttributeError, ValueError, ArithmeticError):
        raise Failed("this is no status of gunicorn-raindrops") from None


def _parse(status: Status) -> Sample:
    arbiter = status["arbiter"]
    taken = number(status["time"])
    if taken is None:
        raise ValueError("no time")
    listeners = tuple(map(_listener, status["listeners"]))
    return Sample(
        time=taken,
        uptime=number(status["uptime"]),
        server=_server(arbiter),
        wanted=number(arbiter["workers_wanted"]),
        figures=_figures(status, listeners),
        requests=number(status["requests"]),
        scoreboard=text(status["scoreboard"], _MOST_LETTERS),
        workers=tuple(map(_worker, status["workers"] or ())),
        listeners=listeners,
        exits={text(cause): number(count) for cause, count in (status["exits"] or {}).items()},
        killed=tuple(map(_kill, status["killed"] or ())),
    )


def _server(arbiter: Status) -> str:
    names = [("gunicorn", arbiter["gunicorn"]), ("", arbiter["worker_class"])]
    return " ".join(word for name, value in names if value for word in (name, text(value)) if word)


def _figures(status: Status, listeners: tuple[Listener, ...]) -> dict[str, float | None]:
    names = ("calling", "writing", "reading", "waiting")
    figures = {name: number(status[name]) for name in names}
    known = [one.queued for one in listeners if one.queued is not None]
    figures["queued"] = sum(known) if known or not listeners else None
    figures["saturation"] = number(status["saturation"])
    figures["workers"] = len(status["workers"] or ())
    return figures


def _worker(row: Status) -> Worker:
    slot, pid = number(row["slot"]), number(row["pid"])
    return Worker(
        slot=int(slot or 0),
        pid=int(pid or 0),
        state=text(row["state"]),
        requests=number(row["requests"]),
        cpu_seconds=number(row["cpu_seconds"]),
        rss_bytes=number(row["rss_bytes"]),
        current=_request(row["current"]),
    )


def _request(current: Status | None) -> Request | None:
    if current is None:
        return None
    return Request(
        text(current["method"]),
        text(current["path"]),
        number(current["seconds"]),
        text(current.get("where")),
    )


def _listener(row: Status) -> Listener:
    names = ("active", "queued", "waiting", "backlog", "dropped")
    return Listener(text(row["address"]), *(number(row[name]) for name in names))


def _kill(row: Status) -> Kill:
    current = _request(row["current"])
    if current and row.get("where"):
        current = current._replace(where=text(row["where"]))
    return Kill(number(row["time"]), int(number(row["pid"]) or 0), text(row["cause"]), current)


def number(value: Any) -> float | None:
    """Return a figure, or None for what is none: JSON in Python has Infinity, too."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < _BOUND else None  # which compares false to NaN


def text(value: Any, longest: int = _LONGEST) -> str:
    """Return a text, cut."""
    return value[:longest] if isinstance(value, str) else ""
