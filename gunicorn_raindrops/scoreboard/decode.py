"""Records from the words of shared pages.

Any worker may have scribbled on the pages: lengths are checked, and bytes that are no text are left
out.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import Any

from .._native._scoreboard import ffi, lib
from ..distribution import Distribution
from .records import RequestRecord, SlotRecord

CUT = "\u2026"
"""Ends a path that was longer."""


def request(words: Any, took: int) -> RequestRecord | None:
    """Return the request in a `struct grd_entry`; None if the entry is free.

    Args:
        words: a private copy of the struct.
        took: nanoseconds since its begin.
    """
    if not words.began:
        return None
    text = ffi.buffer(words.text)[:]
    method = min(words.method, lib.GRD_ENTRY_METHOD)
    path = text[method : method + words.path]
    return RequestRecord(
        method=_text(text[:method]),
        path=_text(path) + (CUT if words.cut else ""),
        seconds=took / 1e9,
        where=_line(ffi.buffer(words.where)[:]),
    )


def _text(found: bytes) -> str:
    """Return bytes as text; the end may be half a character."""
    return found.decode(errors="ignore")


def _line(found: bytes) -> str | None:
    """Return a text that a NUL ends, in one line; None if there is none."""
    return "".join(filter(str.isprintable, _text(found.partition(b"\0")[0]))) or None


class Integers:
    """Reads the integers of a struct that a record has fields for, by the same names.

    Args:
        struct: the struct's type in C.
        record: the record's type.
        converted: fields that are something else in the record.
    """

    def __init__(self, struct: str, record: type, *converted: str) -> None:
        wanted = {field.name for field in dataclasses.fields(record)} - set(converted)
        fields = ffi.typeof(struct).fields
        integers = (name for name, field in fields if field.type.kind == "primitive")
        self._names = tuple(name for name in integers if name in wanted)
        self._get = attrgetter(*self._names)

    def read(self, words: Any) -> dict[str, Any]:
        """Return them by name."""
        return dict(zip(self._names, self._get(words), strict=True))


_slot = Integers("struct grd_slot_record", SlotRecord, "started", "reading")


def slot(words: Any, namespace: int) -> SlotRecord:
    """Return what a `struct grd_slot_record` holds; `namespace` is the reader's PID namespace."""
    return SlotRecord(
        started=words.started / 1e9,
        reading=words.reading if words.is_reading_known else None,
        busy_seconds=words.busy / 1e9,
        lag_seconds=words.lag / 1e9 if words.is_lag_known else None,
        is_local=bool(words.is_namespace_known and words.namespace == namespace),
        current=request(words.entry, words.took),
        **_slot.read(words),
    )


def distribution(words: Any) -> Distribution:
    """Return what a `struct grd_histogram` holds."""
    copy = ffi.new("struct grd_histogram *")
    copy[0] = words
    return Distribution(copy)
