"""A snapshot as JSON, field by field. Pure: no I/O, no clock.

A record becomes an object whose keys are its fields, in their order; a field that is `hidden` (see
`snapshot.py`) has no key. So a figure that is added to a record is in here without another line.
The three figures of a snapshot that have another shape in JSON are in `_SHAPES`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from ..distribution import Distribution
from ..scoreboard.records import HEADER, SOCKET
from ..snapshot import Snapshot

VERSION = 1
"""Within a version, keys are only ever added."""


def encode(snapshot: Snapshot, more: Mapping[str, Any] | None = None) -> bytes:
    """Return everything, as one JSON object; null for what is not known.

    Args:
        more: keys that were asked for, with their values.
    """
    return json.dumps({**as_dict(snapshot), **(more or {})}, indent=1).encode() + b"\n"


def as_dict(snapshot: Snapshot) -> dict[str, Any]:
    """Return everything, as JSON's types."""
    whole: dict[str, Any] = {"version": VERSION}
    for name, figure in vars(snapshot).items():
        if name not in _hidden(Snapshot):
            whole[name] = None if figure is None else _SHAPES.get(name, _plain)(figure)
    if snapshot.queue_seconds is not None:
        whole["queue_seconds"]["ignored"] = snapshot.queue_ignored
    return whole


def _queue(sources: Mapping[str, Distribution]) -> dict[str, Any]:
    return {**sources[SOCKET].as_dict(), HEADER: sources[HEADER].as_dict()}


_SHAPES: dict[str, Callable[[Any], Any]] = {
    "queue_seconds": _queue,
    "busy_seconds": sum,
    "counters": lambda counters: {one.name: one.value for one in counters},
}


@cache
def _hidden(record: Any) -> frozenset[str]:
    fields = dataclasses.fields(record)
    return frozenset(field.name for field in fields if field.metadata.get("hidden"))


_SCALARS = {int, float, str, bool, type(None)}


def _plain(value: Any) -> Any:
    """Return a value as JSON's types."""
    if value.__class__ in _SCALARS:
        return value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Distribution):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    hidden = _hidden(value.__class__)
    return {
        key: one if one.__class__ in _SCALARS else _plain(one)
        for key, one in vars(value).items()  # a dataclass fills it in the order of its fields
        if key not in hidden
    }
