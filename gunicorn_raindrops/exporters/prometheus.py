"""A Snapshot in Prometheus's formats, by way of prometheus_client.

That is an extra (`pip install gunicorn-raindrops[prometheus]`), so nothing imports this before
somebody asks for it. Workers are labelled by slot, never by pid: a series lives as long as the
server, and their number does not grow with restarts. What is not known has no sample.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from .. import snapshot
from ..distribution import Distribution
from ..snapshot import Snapshot

_ASCII = re.compile(r"[^A-Za-z0-9_]")
STATES = ("starting", "idle", "calling", "writing", "finishing")


class PrometheusCollector:
    """The scoreboard as a collector, for a registry of the application's own.

        registry.register(PrometheusCollector())

    In a worker of gunicorn it yields the whole server's figures, whichever worker is asked;
    elsewhere, as in the arbiter, nothing.

    Args:
        take: returns a snapshot, where it is not this worker's that is wanted.
    """

    def __init__(self, take: Callable[[], Snapshot] | None = None) -> None:
        self._take = take

    def describe(self) -> Iterable[Metric]:
        """Say nothing: a registry would otherwise collect once to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the families of one snapshot."""
        take = self._take or snapshot.here()
        if take is not None:
            yield from families(take())


def encode(sample: Snapshot, accept: str | None) -> tuple[bytes, str]:
    """Return a snapshot as text, and its content type: OpenMetrics for whom accepts it."""
    try:
        encoder, content_type = choose_encoder(accept or "")
    except (ValueError, TypeError):  # a version that is none
        encoder, content_type = choose_encoder("")
    return encoder(PrometheusCollector(lambda: sample)), content_type


def families(sample: Snapshot) -> Iterator[Metric]:
    """Yield what a snapshot tells, family by family."""
    yield from _workers(sample)
    yield from _ends(sample)
    yield from _requests(sample)
    yield from _marks(sample)
    yield from _durations(sample)
    yield from _listeners(sample)
    yield from _counters(sample)


def _workers(sample: Snapshot) -> Iterator[Metric]:
    if sample.workers is not None:
        states = [worker.state for worker in sample.workers]
        yield _labelled(
            GaugeMetricFamily,
            "gunicorn_workers",
            "Workers by what they are doing.",
            "state",
            [(state, states.count(state)) for state in STATES],
        )
    if sample.scoreboard is not None:
        yield _gauge("gunicorn_workers_max", "Workers that can be counted.", len(sample.scoreboard))
    if sample.untracked is not None:
        yield _gauge(
            "gunicorn_workers_untracked", "Workers beyond the last slot.", sample.untracked
        )


def _ends(sample: Snapshot) -> Iterator[Metric]:
    if sample.busy_seconds is not None:
        yield _labelled(
            CounterMetricFamily,
            "gunicorn_worker_busy_seconds",
            "How long requests have been inside, those in flight included.",
            "slot",
            [(str(slot), busy) for slot, busy in enumerate(sample.busy_seconds)],
        )
    if sample.exits is not None:
        yield _labelled(
            CounterMetricFamily,
            "gunicorn_worker_exits",
            "Workers that have ended, by why.",
            "reason",
            sample.exits.items(),
        )


def _requests(sample: Snapshot) -> Iterator[Metric]:
    yield _gauge(
        "gunicorn_requests_in_flight",
        "Requests inside the workers.",
        sample.calling + sample.writing,
    )
    yield _gauge(
        "gunicorn_requests_writing", "Requests whose response is being sent.", sample.writing
    )
    if sample.websockets is not None:
        yield _gauge("gunicorn_websockets", "Websockets that are open.", sample.websockets)
    if sample.requests is not None:
        yield _counter("gunicorn_requests", "Requests that have ended.", sample.requests)
    if sample.errors is not None:
        yield _counter(
            "gunicorn_request_errors", "Requests that ended in an exception.", sample.errors
        )
    if sample.responses is not None:
        yield _labelled(
            CounterMetricFamily,
            "gunicorn_responses",
            "Responses by class of status.",
            "code",
            zip(snapshot.CLASSES, sample.responses, strict=True),
        )
    if sample.capacity is not None:
        yield _gauge("gunicorn_capacity", "Requests that can run at once.", sample.capacity)
    if sample.saturation is not None:
        yield _gauge(
            "gunicorn_saturation_ratio",
            "Requests in flight and connections waiting, over capacity.",
            sample.saturation,
        )


_MARKS = [
    ("calling", "gunicorn_requests_calling_max", "Most requests that were calling at once."),
    ("writing", "gunicorn_requests_writing_max", "Most requests that were writing at once."),
    ("queued", "gunicorn_listeners_queued_max", "Most connections that were seen waiting."),
]


def _marks(sample: Snapshot) -> Iterator[Metric]:
    for attribute, name, text in _MARKS:
        known = [
            (window, getattr(most, attribute))
            for window, most in (sample.marks or {}).items()
            if most is not None and getattr(most, attribute) is not None
        ]
        if known:
            yield _labelled(GaugeMetricFamily, name, text, "window", known)


_LEAST, _MOST = 5e-4, 60.0  # seconds that buckets are shown for, a bound an octave


def _durations(sample: Snapshot) -> Iterator[Metric]:
    if sample.request_seconds is not None:
        yield _histogram(
            "gunicorn_request_duration_seconds",
            "How long requests have taken, from the application's call to the response's end.",
            {(): sample.request_seconds},
        )
    if sample.queue_seconds is not None:
        yield _histogram(
            "gunicorn_request_queue_seconds",
            "How long requests have waited before that, as the kernel or a proxy says.",
            {(source,): durations for source, durations in sample.queue_seconds.items()},
            ["source"],
        )
    if sample.queue_ignored is not None:
        yield _counter(
            "gunicorn_request_queue_ignored",
            "Headers of proxies that said no time, or one to come.",
            sample.queue_ignored,
        )


def _histogram(
    name: str,
    text: str,
    values: Mapping[tuple[str, ...], Distribution],
    labels: Sequence[str] = (),
) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for label, durations in values.items():
        bounds = [(f"{bound:.12g}", count) for bound, count in durations.reached(_LEAST, _MOST)]
        family.add_metric(label, [*bounds, ("+Inf", durations.count)], durations.sum)
    return family


_LISTENERS = [
    (GaugeMetricFamily, "active", "active", "Connections that were accepted and are open."),
    (GaugeMetricFamily, "queued", "queued", "Connections that wait to be accepted."),
    (GaugeMetricFamily, "backlog", "backlog", "Connections that may wait to be accepted."),
    (CounterMetricFamily, "drops", "dropped", "Packets dropped because the queue was full."),
]


def _listeners(sample: Snapshot) -> Iterator[Metric]:
    for kind, name, attribute, text in _LISTENERS:
        found = [(one.address, getattr(one, attribute)) for one in sample.listeners]
        known = [(_printable(address), figure) for address, figure in found if figure is not None]
        if known:
            yield _labelled(kind, f"gunicorn_listener_{name}", text, "listener", known)


def _counters(sample: Snapshot) -> Iterator[Metric]:
    for one in sample.counters or ():
        name, text = f"gunicorn_app_{_ASCII.sub('_', one.name)}", "The application's own."
        yield _gauge(name, text, one.value) if one.gauge else _counter(name, text, one.value)


def _printable(address: str) -> str:
    """Return a label's value: a path may hold bytes that are not UTF-8."""
    return address.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _labelled(
    kind: Any, name: str, text: str, label: str, values: Iterable[tuple[str, float]]
) -> Metric:
    family = kind(name, text, labels=[label])
    for value, figure in values:
        family.add_metric([value], figure)
    return family  # type: ignore[no-any-return]
