"""Records from the words of shared pages.

Any worker may have scribbled on the pages: lengths are checked, and bytes that are no text are left
out.
"""

from __future__ import annotations

from typing import Any

from .._native._counters import ffi, lib
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
    )


def _text(found: bytes) -> str:
    """Return bytes as text; the end may be half a character."""
    return found.decode(errors="ignore")


def slot(words: Any) -> SlotRecord:
    """Return what a `struct grd_slot_record` holds."""
    return SlotRecord(
        slot=words.slot,
        pid=words.pid,
        state=words.state,
        age=words.age,
        started=words.started / 1e9,
        capacity=words.capacity,
        requests=words.requests,
        calling=words.calling,
        writing=words.writing,
        websockets=words.websockets,
        busy_seconds=words.busy / 1e9,
        current=request(words.entry, words.took),
    )


def distribution(words: Any) -> Distribution:
    """Return what a `struct grd_histogram` holds."""
    copy = ffi.new("struct grd_histogram *")
    copy[0] = words
    return Distribution(copy)
