"""What Prometheus is told: the families of a snapshot, a row each.

To add a figure, add its row. The rows are the product's interface: a name stays, and so does what
it means. A name ends in its unit, where it has one. A sum over a label means something (of the
marks, which have windows, the maximum does). Workers are labelled by slot, never by pid: a series
lives as long as the server, and the number of series does not grow with restarts. A figure that is
not known has no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

from ..distribution import Distribution, bucket_up_to
from ..scoreboard.app_counters import UserCounter
from ..snapshot import Snapshot
from . import figures

GAUGE, COUNTER, HISTOGRAM, INFO = "gauge", "counter", "histogram", "info"

_ENDS = {COUNTER: "_total", INFO: "_info"}
_UNITS = ("seconds", "ratio", "bytes")

BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5),
    *(0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0),
)
"""Of the histograms, seconds."""
_BUCKETS = [(str(bound), bucket_up_to(bound)) for bound in BOUNDS]


def buckets(durations: Distribution) -> list[tuple[str, int]]:
    """Return each bound as it is written, and how many durations are at most that."""
    reached = [(bound, durations.reached(at)) for bound, at in _BUCKETS]
    return [*reached, ("+Inf", durations.count)]


class Family(NamedTuple):
    """A family of samples.

    Attributes:
        kind: one of GAUGE, COUNTER, HISTOGRAM and INFO.
        name: without the suffix that a counter or an info gets.
        help: one sentence.
        of: returns the figure of a snapshot, a number or a Distribution; with labels, see
            `figures`; None if it is not known.
        labels: their names.
    """

    kind: str
    name: str
    help: str
    of: Callable[[Snapshot], Any]
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> str:
        """The name of its samples; those of a histogram begin with it."""
        return self.name + _ENDS.get(self.kind, "")

    @property
    def unit(self) -> str:
        """The unit in which the name ends; nothing for a number of things."""
        last = self.name.rpartition("_")[2]
        return last if last in _UNITS else ""

    def figures(self, snapshot: Snapshot) -> figures.Pairs:
        """Return the labels' values and the figure of each sample."""
        found = self.of(snapshot)
        if found is None:
            return []
        return found if self.labels else [((), found)]


def told(snapshot: Snapshot) -> Iterator[tuple[Family, figures.Pairs]]:
    """Yield each family that has samples, and these: see `Family.figures`."""
    for family in FAMILIES:
        found = family.figures(snapshot)
        if found:
            yield family, found
    for counter in snapshot.counters or ():
        family = _of_user(counter)
        yield family, family.figures(snapshot)


def _of_user(counter: UserCounter) -> Family:
    kind = GAUGE if counter.gauge else COUNTER
    return Family(kind, counter.family, "The application's own.", lambda _: counter.value)


def _count(name: str, help_: str, of: Callable[[Snapshot], Any], *labels: str) -> Family:
    return Family(COUNTER, f"gunicorn_{name}", help_, of, labels)


def _gauge(name: str, help_: str, of: Callable[[Snapshot], Any], *labels: str) -> Family:
    return Family(GAUGE, f"gunicorn_{name}", help_, of, labels)


def _histogram(name: str, help_: str, of: Callable[[Snapshot], Any]) -> Family:
    return Family(HISTOGRAM, f"gunicorn_{name}", help_, of)


_SERVER = (
    Family(
        INFO,
        "gunicorn",
        "What runs here.",
        figures.info,
        ("gunicorn", "python", "raindrops", "worker_class"),
    ),
    _gauge("start_time_seconds", "When the server started, Unix time.", attrgetter("started")),
)

_WORKERS = (
    _gauge("workers", "Workers by what they are doing.", figures.states, "state"),
    _gauge(
        "workers_wanted",
        "Workers that the arbiter means to have.",
        attrgetter("arbiter.workers_wanted"),
    ),
    _gauge("workers_limit", "Workers that can be counted.", figures.slots),
    _gauge("workers_untracked", "Workers beyond the last slot.", attrgetter("untracked")),
    _count(
        "worker_busy_seconds",
        "How long requests have been inside, those in flight included.",
        figures.busy,
        "slot",
    ),
    _count(
        "worker_cpu_seconds",
        "Processor time of the worker that has the slot.",
        figures.workers("cpu_seconds"),
        "slot",
    ),
    _gauge(
        "worker_resident_memory_bytes",
        "Resident memory of the worker that has the slot.",
        figures.workers("rss_bytes"),
        "slot",
    ),
    _gauge(
        "worker_lag_seconds",
        "How late its status thread was to have the interpreter and a processor.",
        figures.workers("lag_seconds"),
        "slot",
    ),
    _count("worker_exits", "Workers that have ended, by why.", figures.items("exits"), "reason"),
)

_REQUESTS = (
    _gauge("requests_in_flight", "Requests inside the workers.", figures.in_flight),
    _gauge("requests_calling", "Requests inside the application.", attrgetter("calling")),
    _gauge("requests_writing", "Requests whose response is being sent.", attrgetter("writing")),
    _gauge(
        "requests_reading",
        "Connections that hold a thread without a request inside the application.",
        attrgetter("reading"),
    ),
    _gauge("requests_waiting", "Requests inside that nobody has read yet.", attrgetter("waiting")),
    _gauge("requests_capacity", "Requests that can run at once.", attrgetter("capacity")),
    _gauge(
        "request_oldest_seconds",
        "How long the oldest request has been in flight.",
        figures.oldest,
    ),
    _gauge(
        "utilization_ratio",
        "Requests in flight and threads held without one, over capacity.",
        attrgetter("utilization"),
    ),
    _gauge(
        "saturation_ratio",
        "Requests in flight, threads held, requests waiting inside and queued, over capacity.",
        attrgetter("saturation"),
    ),
    _gauge("websockets_open", "Websockets that are open.", attrgetter("websockets")),
    _count("requests", "Requests that have ended.", attrgetter("requests")),
    _count("responses", "Responses by class of status.", figures.items("responses"), "code"),
    _count("request_errors", "Requests that ended in an exception.", attrgetter("errors")),
)

_TIMES = (
    _histogram(
        "request_duration_seconds",
        "How long requests have taken, from the application's call to the response's end.",
        attrgetter("request_seconds"),
    ),
    _histogram(
        "request_queue_seconds",
        "How long requests have waited before that, as the kernel says.",
        figures.socket_queue,
    ),
    _histogram(
        "request_header_queue_seconds",
        "How long requests have waited before that, as a proxy says.",
        figures.header_queue,
    ),
    _count(
        "request_queue_ignored",
        "Headers of proxies that said no time, or one to come.",
        attrgetter("queue_ignored"),
    ),
)

_MARKS = (
    _gauge(
        "requests_calling_max",
        "Most requests that were calling at once.",
        figures.mark("calling"),
        "window",
    ),
    _gauge(
        "requests_writing_max",
        "Most requests that were writing at once.",
        figures.mark("writing"),
        "window",
    ),
    _gauge(
        "listeners_queued_max",
        "Most connections that were seen waiting.",
        figures.mark("queued"),
        "window",
    ),
    _gauge(
        "requests_waiting_max",
        "Most requests that were seen waiting inside.",
        figures.mark("waiting"),
        "window",
    ),
)

_LISTENERS = (
    _gauge(
        "listener_active",
        "Connections that were accepted and are open.",
        figures.listeners("active"),
        "listener",
    ),
    _gauge(
        "listener_queued",
        "Connections that wait to be accepted.",
        figures.listeners("queued"),
        "listener",
    ),
    _gauge(
        "listener_waiting",
        "Connections whose request nobody has read yet.",
        figures.listeners("waiting"),
        "listener",
    ),
    _gauge(
        "listener_queue_limit",
        "Connections that may wait to be accepted.",
        figures.listeners("backlog"),
        "listener",
    ),
    _count(
        "listener_drops",
        "Packets dropped because the queue was full.",
        figures.listeners("dropped"),
        "listener",
    ),
)

FAMILIES = (*_SERVER, *_WORKERS, *_REQUESTS, *_TIMES, *_MARKS, *_LISTENERS)
