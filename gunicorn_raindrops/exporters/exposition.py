"""A snapshot in Prometheus's two text formats, straight from the table of families.

prometheus_client writes the same from its own objects, in several times as long: a scrape would
take the interpreter from the worker's requests for most of a millisecond. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..snapshot import Snapshot
from .families import GAUGE, HISTOGRAM, INFO, Family, buckets, told


def encode(snapshot: Snapshot) -> bytes:
    """Return the text format."""
    lines: list[str] = []
    for family, found in told(snapshot):
        name = family.series
        kind = GAUGE if family.kind == INFO else family.kind
        lines.append(f"# HELP {name} {family.help}\n# TYPE {name} {kind}\n")
        lines += _samples(family, found)
    return "".join(lines).encode()


def encode_open(snapshot: Snapshot) -> bytes:
    """Return the format of OpenMetrics."""
    lines: list[str] = []
    for family, found in told(snapshot):
        name = family.name
        lines.append(f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n")
        if family.unit:
            lines.append(f"# UNIT {name} {family.unit}\n")
        lines += _samples(family, found)
    return "".join([*lines, "# EOF\n"]).encode()


def _samples(family: Family, found: list[tuple[tuple[str, ...], Any]]) -> Iterator[str]:
    if family.kind == HISTOGRAM:
        yield from _histogram(family.name, found[0][1])
        return
    for values, figure in found:
        yield f"{family.series}{_labels(family.labels, values)} {float(figure)}\n"


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not names:
        return ""
    pairs = zip(names, map(_escape, values), strict=True)
    return "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _histogram(name: str, durations: Any) -> Iterator[str]:
    for bound, count in buckets(durations):
        yield f'{name}_bucket{{le="{bound}"}} {float(count)}\n'
    yield f"{name}_count {float(durations.count)}\n{name}_sum {durations.sum}\n"
