"""Why workers ended: how many by each cause, and what the last ones that were killed were doing.

Who writes: a worker counts its own end on its way out, if it gets there and knows why; else the
arbiter that waits for it does (see scoreboard.h). Arbiters keep the records of kills. All of it
stands in the scoreboard's header, so it outlives workers, arbiters and, with a file, the server.
"""

from __future__ import annotations

import time
from typing import Any

from .._native._scoreboard import ffi, lib
from . import decode
from .records import KillRecord

GRACEFUL, MAX_REQUESTS, TIMEOUT, KILLED, BOOT_FAILURE, FAILED = (
    "graceful",
    "max_requests",
    "timeout",
    "killed",
    "boot_failure",
    "failed",
)
CAUSES: dict[str, int] = {
    GRACEFUL: lib.GRD_EXIT_GRACEFUL,
    MAX_REQUESTS: lib.GRD_EXIT_MAX_REQUESTS,
    TIMEOUT: lib.GRD_EXIT_TIMEOUT,
    KILLED: lib.GRD_EXIT_KILLED,
    BOOT_FAILURE: lib.GRD_EXIT_BOOT_FAILURE,
    FAILED: lib.GRD_EXIT_FAILED,
}
_NAMES = {number: name for name, number in CAUSES.items()}


def counts(header: Any) -> dict[str, int]:
    """Return how many workers have ended, by cause."""
    return {cause: header.exits[number] for cause, number in CAUSES.items()}


def keep(header: Any, slot: int, row: Any, cause: str) -> KillRecord:
    """Keep what a worker was doing when it was killed, and return it."""
    killed = ffi.new("struct grd_kill *")
    killed.time = time.time_ns()
    killed.slot, killed.pid, killed.age = slot, row.pid, row.age
    killed.cause = CAUSES[cause]
    # an aborted request has ended, but is what the worker was killed in
    killed.in_flight = max(row.calling + row.writing, 1 if row.entry.began else 0)
    killed.entry, killed.took = row.entry, row.took
    lib.grd_record_kill(header, killed)
    return _decode(killed)


def kept(header: Any) -> tuple[KillRecord, ...]:
    """Return the last workers that were killed, the latest first."""
    copy, kills = ffi.new("struct grd_kill *"), header.kills
    turns = range(kills, max(0, kills - lib.GRD_KILLS_KEPT), -1)
    return tuple(_decode(copy) for turn in turns if lib.grd_read_kill(header, turn, copy))


def describe(killed: KillRecord) -> str:
    """Return a line for the log. A path is a stranger's: it stands there quoted, in ASCII."""
    how = "killed by the timeout" if killed.cause == TIMEOUT else "killed"
    line = f"worker (pid:{killed.pid}) was {how}"
    if killed.current is None:
        return f"{line}, idle"
    request = ascii(f"{killed.current.method} {killed.current.path}")
    line += f" in {request}, {killed.current.seconds:.1f} s after its begin"
    if killed.where is not None:
        line += f", at {killed.where}"
    others = killed.in_flight - 1
    return f"{line}, the oldest of {killed.in_flight} requests" if others > 0 else line


def _decode(killed: Any) -> KillRecord:
    current = decode.request(killed.entry, killed.took)
    return KillRecord(
        time=killed.time / 1e9,
        slot=killed.slot,
        pid=killed.pid,
        age=killed.age,
        cause=_NAMES.get(killed.cause, KILLED),
        in_flight=killed.in_flight,
        current=current,
        where=None if current is None else current.where,
    )
