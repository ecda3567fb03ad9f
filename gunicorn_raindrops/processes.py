"""What the kernel tells of processes: the processor time and the memory that each uses.

It is read natively, for all processes in one call and without the GIL: a server may have hundreds
of workers. The native module is the one that asks for listeners, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .listeners.sock_diag import load


class Usage(NamedTuple):
    """What a process uses; None for what cannot be known.

    Attributes:
        cpu_seconds: for how long its threads have run, those that have ended included.
        rss_bytes: its resident memory, pages that it shares included.
    """

    cpu_seconds: float | None
    rss_bytes: int | None


UNKNOWN = Usage(None, None)


def usage(pids: Sequence[int]) -> list[Usage]:
    """Return what each of some processes of this PID namespace uses (proc_pid_stat(5))."""
    native = load()
    if native is None or not pids:
        return [UNKNOWN] * len(pids)
    found = native.ffi.new("struct grd_usage[]", len(pids))
    native.lib.grd_usage(native.ffi.new("uint32_t[]", pids), len(pids), found)
    return [UNKNOWN if one.cpu < 0 else Usage(one.cpu / 1e9, one.resident) for one in found]
