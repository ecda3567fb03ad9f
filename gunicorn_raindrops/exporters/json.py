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


def encode(snapshot: Snapshot) -> bytes:
    """Return everything, as one JSON object; null for what is not known."""
    return json.dumps(as_dict(snapshot), indent=1).encode() + b"\n"


def as_dict(snapshot: Snapshot) -> dict[str, Any]:
    """Return everything, as JSON's types."""
    whole: dict[str, Any] = {"version": VERSION}
    for name in _keys(Snapshot):
        shape = _SHAPES.get(name, _plain)
        value = getattr(snapshot, name)
        whole[name] = None if value is None else shape(value)
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
def _keys(record: Any) -> tuple[str, ...]:
    fields = dataclasses.fields(record)
    return tuple(field.name for field in fields if not field.metadata.get("hidden"))


def _plain(value: Any) -> Any:
    """Return a value as JSON's types."""
    if value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Distribution):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return {key: _plain(getattr(value, key)) for key in _keys(value.__class__)}
