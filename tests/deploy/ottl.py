"""As much of the OpenTelemetry collector as the shipped config uses, as documented: metrics as the
prometheus receiver makes them, and the statements of the transform processor on them.

It knows the functions `set` and `convert_gauge_to_sum`, the paths of a metric that are in `PATHS`,
and conditions of the form `name == "…"`; whatever else stands in a config is an error.
"""

import re
from dataclasses import dataclass

PATHS = ("name", "unit", "description")
_STATEMENT = re.compile(r'(\w+)\(([^)]*)\) where name == "([^"]*)"')
_SET = re.compile(r'(\w+), "([^"]*)"')
_CONVERT = re.compile(r'"(cumulative|delta)", (true|false)')


@dataclass
class Metric:
    """One of OTLP's metrics; `temporality` and `monotonic` are a sum's."""

    name: str
    kind: str
    unit: str
    description: str
    samples: list
    temporality: str | None = None
    monotonic: bool | None = None


KINDS = {"gauge": "Gauge", "counter": "Sum", "histogram": "Histogram", "info": "Sum"}
"""By the specification of the compatibility with Prometheus."""
UNITS = {"seconds": "s", "bytes": "By", "ratio": "1", "": ""}


def received(families):
    """Return what the receiver makes of a scrape's families."""
    found = {}
    for family in families:
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        metric = Metric(
            family.name + suffix,
            KINDS[family.type],
            UNITS[family.unit],
            family.documentation,
            family.samples,
        )
        if metric.kind == "Sum":
            metric.temporality, metric.monotonic = "cumulative", family.type == "counter"
        found[metric.name] = metric
    return found


def apply(statements, metrics):
    """Apply the statements to each metric, in turn; returns all by their new names.

    Raises:
        ValueError: a statement is of no form that is known here.
    """
    for statement in statements:
        match = _STATEMENT.fullmatch(statement)
        if match is None:
            raise ValueError(f"no statement of a known form: {statement}")
        function, arguments, name = match.groups()
        for metric in metrics.values():
            if metric.name == name:
                FUNCTIONS[function](metric, arguments)
    return {metric.name: metric for metric in metrics.values()}


def _set(metric, arguments):
    path, value = _SET.fullmatch(arguments).groups()
    if path not in PATHS:
        raise ValueError(f"no path of a metric: {path}")
    setattr(metric, path, value)


def _convert_gauge_to_sum(metric, arguments):
    if metric.kind == "Gauge":  # another is left as it is
        metric.temporality, monotonic = _CONVERT.fullmatch(arguments).groups()
        metric.kind, metric.monotonic = "Sum", monotonic == "true"


FUNCTIONS = {"set": _set, "convert_gauge_to_sum": _convert_gauge_to_sum}
