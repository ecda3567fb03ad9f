"""What Prometheus is told: the families of a snapshot, a row each.

To add a figure, add its row. Workers are labelled by slot, never by pid: a series lives as long as
the server, and the number of series does not grow with restarts. A figure that is not known has no
sample.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from ..snapshot import Snapshot

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"
STATES = ("starting", "idle", "calling", "writing", "finishing")


class Family(NamedTuple):
    """A family of samples.

    Attributes:
        kind: one of GAUGE, COUNTER and HISTOGRAM.
        name: without the suffix that a counter gets.
        help: one sentence.
        of: returns the figure of a snapshot, a number or a Distribution; with a `label`, pairs of
            the label's value and the figure; None if it is not known.
        label: the label's name.
    """

    kind: str
    name: str
    help: str
    of: Callable[[Snapshot], Any]
    label: str | None = None


# What a figure is, where it is not a field of the snapshot.

Pairs = list[tuple[str, Any]] | None


def _states(sample: Snapshot) -> Pairs:
    if sample.workers is None:
        return None
    states = [worker.state for worker in sample.workers]
    return [(state, states.count(state)) for state in STATES]


def _items(name: str) -> Callable[[Snapshot], Pairs]:
    """Return what reads a mapping's items."""

    def of(sample: Snapshot) -> Pairs:
        mapping = getattr(sample, name)
        return None if mapping is None else list(mapping.items())

    return of


def _busy(sample: Snapshot) -> Pairs:
    if sample.busy_seconds is None:
        return None
    return [(str(slot), seconds) for slot, seconds in enumerate(sample.busy_seconds)]


def _mark(name: str) -> Callable[[Snapshot], Pairs]:
    """Return what reads a high-water mark, by window."""

    def of(sample: Snapshot) -> Pairs:
        marks = [(window, mark) for window, mark in (sample.marks or {}).items() if mark]
        found = [(window, getattr(mark, name)) for window, mark in marks]
        return [(window, figure) for window, figure in found if figure is not None] or None

    return of


def _listeners(name: str) -> Callable[[Snapshot], Pairs]:
    """Return what reads a figure of each listener."""

    def of(sample: Snapshot) -> Pairs:
        found = [(_printable(one.address), getattr(one, name)) for one in sample.listeners]
        return [(address, figure) for address, figure in found if figure is not None] or None

    return of


def _printable(address: str) -> str:
    """Return a label's value: a path may hold bytes that are not UTF-8."""
    return address.encode(errors="surrogateescape").decode(errors="backslashreplace")


FAMILIES = (
    Family(GAUGE, "gunicorn_workers", "Workers by what they are doing.", _states, "state"),
    Family(
        GAUGE,
        "gunicorn_workers_max",
        "Workers that can be counted.",
        lambda sample: None if sample.scoreboard is None else len(sample.scoreboard),
    ),
    Family(
        GAUGE,
        "gunicorn_workers_untracked",
        "Workers beyond the last slot.",
        attrgetter("untracked"),
    ),
    Family(
        COUNTER,
        "gunicorn_worker_busy_seconds",
        "How long requests have been inside, those in flight included.",
        _busy,
        "slot",
    ),
    Family(
        COUNTER,
        "gunicorn_worker_exits",
        "Workers that have ended, by why.",
        _items("exits"),
        "reason",
    ),
    Family(
        GAUGE,
        "gunicorn_requests_in_flight",
        "Requests inside the workers.",
        lambda sample: sample.calling + sample.writing,
    ),
    Family(
        GAUGE,
        "gunicorn_requests_writing",
        "Requests whose response is being sent.",
        attrgetter("writing"),
    ),
    Family(GAUGE, "gunicorn_websockets", "Websockets that are open.", attrgetter("websockets")),
    Family(COUNTER, "gunicorn_requests", "Requests that have ended.", attrgetter("requests")),
    Family(
        COUNTER,
        "gunicorn_request_errors",
        "Requests that ended in an exception.",
        attrgetter("errors"),
    ),
    Family(
        COUNTER,
        "gunicorn_responses",
        "Responses by class of status.",
        _items("responses"),
        "code",
    ),
    Family(GAUGE, "gunicorn_capacity", "Requests that can run at once.", attrgetter("capacity")),
    Family(
        GAUGE,
        "gunicorn_saturation_ratio",
        "Requests in flight and connections waiting, over capacity.",
        attrgetter("saturation"),
    ),
    Family(
        GAUGE,
        "gunicorn_requests_calling_max",
        "Most requests that were calling at once.",
        _mark("calling"),
        "window",
    ),
    Family(
        GAUGE,
        "gunicorn_requests_writing_max",
        "Most requests that were writing at once.",
        _mark("writing"),
        "window",
    ),
    Family(
        GAUGE,
        "gunicorn_listeners_queued_max",
        "Most connections that were seen waiting.",
        _mark("queued"),
        "window",
    ),
    Family(
        HISTOGRAM,
        "gunicorn_request_duration_seconds",
        "How long requests have taken, from the application's call to the response's end.",
        attrgetter("request_seconds"),
    ),
    Family(
        HISTOGRAM,
        "gunicorn_request_queue_seconds",
        "How long requests have waited before that, as the kernel or a proxy says.",
        _items("queue_seconds"),
        "source",
    ),
    Family(
        COUNTER,
        "gunicorn_request_queue_ignored",
        "Headers of proxies that said no time, or one to come.",
        attrgetter("queue_ignored"),
    ),
    Family(
        GAUGE,
        "gunicorn_listener_active",
        "Connections that were accepted and are open.",
        _listeners("active"),
        "listener",
    ),
    Family(
        GAUGE,
        "gunicorn_listener_queued",
        "Connections that wait to be accepted.",
        _listeners("queued"),
        "listener",
    ),
    Family(
        GAUGE,
        "gunicorn_listener_backlog",
        "Connections that may wait to be accepted.",
        _listeners("backlog"),
        "listener",
    ),
    Family(
        COUNTER,
        "gunicorn_listener_drops",
        "Packets dropped because the queue was full.",
        _listeners("dropped"),
        "listener",
    ),
)
