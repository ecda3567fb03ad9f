"""What the kernel tells of processes: the processor time and the memory that each uses.

It is read natively, for all processes in one call and without the GIL: a server may have hundreds
of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple


class Usage(NamedTuple):
    """What a process uses; None for what cannot be known.

    Attributes:
        cpu_seconds: for how long its threads have run, those that have ended included.
        rss_bytes: its resident memory, pages that it shares included.
    """

    cpu_seconds: float | None
    rss_bytes: int | None


UNKNOWN = Usage(None, None)


@lru_cache(maxsize=1)
def load() -> Any:
    """Import what reading needs, and return it; None where it is not there. To be called before a
    thread runs that must not import: a later call executes no import."""
    try:
        from ._native import _diag
    except ImportError:
        return None
    return _diag


def usage(pids: Sequence[int]) -> list[Usage]:
    """Return what each of some processes of this PID namespace uses (proc_pid_stat(5))."""
    native = load()
    if native is None or not pids:
        return [UNKNOWN] * len(pids)
    found = native.ffi.new("struct grd_usage[]", len(pids))
    native.lib.grd_usage(native.ffi.new("uint32_t[]", pids), len(pids), found)
    return [UNKNOWN if one.cpu < 0 else Usage(one.cpu / 1e9, one.resident) for one in found]
