"""A snapshot in Prometheus's formats, by way of prometheus_client.

That is an extra (`pip install gunicorn-raindrops[prometheus]`), so this is imported only when a
scraper asks. What the families are is in `families.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from .. import sampler
from ..distribution import Distribution, bucket_up_to
from ..snapshot import Snapshot
from .families import COUNTER, FAMILIES, GAUGE, HISTOGRAM

_ASCII = re.compile(r"[^A-Za-z0-9_]")
_KINDS: dict[str, Any] = {
    GAUGE: GaugeMetricFamily,
    COUNTER: CounterMetricFamily,
    HISTOGRAM: HistogramMetricFamily,
}
_BOUNDS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5),
    *(0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0),
)
"""Of the histograms, seconds."""
_BUCKETS = [(str(bound), bucket_up_to(bound)) for bound in _BOUNDS]
"""As they are written, and the buckets of ours that end there."""


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
        take = self._take or sampler.for_this_process()
        if take is not None:
            yield from families(take())


def encode(sample: Snapshot, accept: str | None) -> tuple[bytes, str]:
    """Return a snapshot as text, and its content type: OpenMetrics for a client that accepts it."""
    try:
        encoder, content_type = choose_encoder(accept or "")
    except (ValueError, TypeError):  # a malformed version
        encoder, content_type = choose_encoder("")
    return encoder(PrometheusCollector(lambda: sample)), content_type


def families(sample: Snapshot) -> Iterator[Metric]:
    """Yield what a snapshot tells, family by family."""
    for kind, name, text, of, label in FAMILIES:
        figures = of(sample)
        if figures is None:
            continue
        if label is None:
            yield _metric(kind, name, text, [], [([], figures)])
        else:
            yield _metric(kind, name, text, [label], [([value], one) for value, one in figures])
    for counter in sample.counters or ():
        kind, name = GAUGE if counter.gauge else COUNTER, _ASCII.sub("_", counter.name)
        text = "The application's own."
        yield _metric(kind, f"gunicorn_app_{name}", text, [], [([], counter.value)])


def _metric(
    kind: str, name: str, text: str, labels: list[str], figures: list[tuple[list[str], Any]]
) -> Metric:
    metric = _KINDS[kind](name, text, labels=labels)
    for values, figure in figures:
        if kind == HISTOGRAM:
            metric.add_metric(values, _buckets(figure), figure.sum)
        else:
            metric.add_metric(values, figure)
    return metric  # type: ignore[no-any-return]


def _buckets(durations: Distribution) -> list[tuple[str, float]]:
    return [*((bound, durations.reached(at)) for bound, at in _BUCKETS), ("+Inf", durations.count)]
