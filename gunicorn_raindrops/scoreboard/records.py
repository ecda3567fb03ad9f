"""What a request in flight is, as one line of an access log has it: method, path, since when.

The bytes come from shared pages, where anybody may have scribbled: lengths are checked, and what
is no text is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._native._counters import ffi, lib

CUT = "\u2026"
"""Ends a path that was longer."""


@dataclass(frozen=True)
class Current:
    """The oldest request of a worker. `path` has no query string; `seconds` since its begin."""

    method: str
    path: str
    seconds: float


def decode(words: Any, took: int) -> Current | None:
    """Return what stands in a `struct grd_current`; None if nobody is there.

    Args:
        words: the struct, a private copy.
        took: nanoseconds since its begin.
    """
    if not words.began:
        return None
    text = ffi.buffer(words.text)[:]
    method = min(words.method, lib.GRD_CURRENT_METHOD)
    path = text[method : method + words.path]
    return Current(
        method=_text(text[:method]),
        path=_text(path) + (CUT if words.cut else ""),
        seconds=took / 1e9,
    )


def _text(found: bytes) -> str:
    """Return bytes as text; the end may be half a character."""
    return found.decode(errors="ignore")
