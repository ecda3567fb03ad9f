"""A snapshot for Prometheus: the answer to a scraper, and a collector for prometheus_client.

Imported only when a scraper asks, or the application wants the collector: prometheus_client is
large. What the families are is in `families.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from .. import sampler
from ..snapshot import Snapshot
from .families import COUNTER, GAUGE, HISTOGRAM, INFO, Family, buckets, told
from .figures import Pairs

_KINDS: dict[str, Any] = {
    GAUGE: GaugeMetricFamily,
    COUNTER: CounterMetricFamily,
    HISTOGRAM: HistogramMetricFamily,
    INFO: InfoMetricFamily,
}


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
    for family, found in told(sample):
        yield _metric(family, found)


def _metric(family: Family, found: Pairs) -> Metric:
    kind, name, text, _, labels = family
    metric: Any = _KINDS[kind](name, text, labels=None if kind == INFO else labels)
    metric.unit = family.unit
    for values, figure in found:
        if kind == INFO:
            metric.add_metric((), dict(zip(labels, values, strict=True)))
        elif kind == HISTOGRAM:
            metric.add_metric(values, buckets(figure), figure.sum)
        else:
            metric.add_metric(values, figure)
    return metric  # type: ignore[no-any-return]
