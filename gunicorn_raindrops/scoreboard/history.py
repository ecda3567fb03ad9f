"""The last ten minutes, second by second: see history.h.

Who writes: the worker that leads, once a second. It stands in the scoreboard's header, so it goes
on through the lives of workers and arbiters and, with a file, of servers.
"""

from __future__ import annotations

from typing import Any

from .._native._scoreboard import ffi, lib
from .records import Moment

SECONDS: int = lib.GRD_HISTORY_SECONDS
_TOO_LARGE = 2**32
"""The native code takes it, and keeps it as not known."""
_FIGURES: dict[str, int] = {
    "calling": lib.GRD_HISTORY_CALLING,
    "writing": lib.GRD_HISTORY_WRITING,
    "reading": lib.GRD_HISTORY_READING,
    "waiting": lib.GRD_HISTORY_WAITING,
    "queued": lib.GRD_HISTORY_QUEUED,
    "capacity": lib.GRD_HISTORY_CAPACITY,
}


def keep(header: Any, moment: Moment) -> None:
    """Keep a moment, in place of the one ten minutes before it."""
    native = ffi.new("struct grd_moment *")
    native.second = moment.second
    for name, i in _FIGURES.items():
        figure = vars(moment)[name]
        native.figures[i] = 0 if figure is None else min(figure + 1, _TOO_LARGE)
    lib.grd_history_keep(header, native)


def kept(header: Any, last: int) -> tuple[Moment, ...]:
    """Return the moments of the ten minutes up to a second, Unix time, the oldest first."""
    moments = ffi.new("struct grd_moment[]", SECONDS)
    found = lib.grd_history_list(header, last, moments)
    return tuple(_decode(moments[i]) for i in range(found))


def _decode(native: Any) -> Moment:
    known = {name: native.figures[i] for name, i in _FIGURES.items()}
    figures = {name: figure - 1 if figure else None for name, figure in known.items()}
    return Moment(second=native.second, **figures)
