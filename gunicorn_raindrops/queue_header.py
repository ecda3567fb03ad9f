"""How long a request has waited, as a proxy says in X-Request-Start or X-Queue-Start.

Proxies write Unix time as they like: in seconds, milli-, micro- or nanoseconds, with a fraction or
without, behind `t=` or not. The unit follows from the magnitude: 1e11 seconds are the year 5138,
1e11 milliseconds were 1973.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from . import scoreboard

NAMES = {"X-REQUEST-START", "X-QUEUE-START"}
LONGEST = 3600.0
"""Seconds. No request waits for longer; who says so has written something else."""

_TIME = re.compile(r"\s*(?:t=)?(\d{1,20})(?:\.(\d{1,20}))?\s*", re.ASCII)
# From which whole number on a time is in a unit, and how many digits of nanoseconds that lacks.
_UNITS = ((10**17, 0), (10**14, 3), (10**11, 6), (0, 9))


def parse(value: str) -> int | None:
    """Return the Unix time that a header says, ns; None if it says none."""
    found = _TIME.fullmatch(value)
    if found is None:
        return None
    whole, fraction = int(found[1]), found[2] or ""
    digits = next(digits for least, digits in _UNITS if whole >= least)
    return int(whole * 10**digits + int(f"{fraction:0<9}"[:digits] or 0))


def record(headers: Iterable[tuple[str, str]]) -> None:
    """Record how long a request has waited, if its headers say so; names are in capitals.

    What is no time, or one to come, or more than an hour ago, is counted as ignored.
    """
    for name, value in headers:
        if name in NAMES:
            began = parse(value)
            waited = -1 if began is None else time.time_ns() - began
            if 0 <= waited <= LONGEST * 1e9:
                scoreboard.queued(waited)
            else:
                scoreboard.queue_ignored()
            return
