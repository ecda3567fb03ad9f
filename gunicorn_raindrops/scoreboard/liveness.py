"""Whether the owner of a slot lives.

An owner is known by its PID namespace, pid and start time, so a reused pid does not revive it. A
pid means nothing in another namespace than its own: an owner of another one counts as alive here,
and its own processes reap it.

Reading a start time from /proc takes some ten microseconds, with the GIL held (see status/thread).
So it is read once for each owner, and at most once a second after that. In between the kernel is
asked only whether the pid is there, and no zombie, which takes one or two.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from .._native._scoreboard import lib

CHECK_SECONDS = 1.0
"""For how long a start time is good."""
UNKNOWN_SECONDS = 10.0
"""For how long a claim may lack its namespace. A claim gets it within nanoseconds: only a process
that was killed, or stopped, right there leaves none."""

_TAG_MASK = (1 << lib.GRD_TAG_BITS) - 1


def lives(pid: int) -> bool:
    """Tell whether there is a process with this pid, and not as a zombie."""
    return bool(lib.grd_process_runs(pid))


class _Seen(NamedTuple):
    owner: int
    start: int
    first: float
    checked: float
    lives: bool


class Liveness:
    """Tells which owners live, for one process; any of its threads may ask."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def living(self, words: Any, count: int) -> Iterator[Any]:
        """Yield those of `count` records, a `struct grd_slot_record[]`, whose owner lives.

        Each is good until the next one: an element of an array does not keep the array, but the
        iteration does."""
        namespace, now = lib.grd_pid_namespace(), time.monotonic()
        for i in range(count):
            if self._lives(words[i], namespace, now):
                yield words[i]

    def dead(self, words: Any, count: int) -> Iterator[Any]:
        """Yield those of `count` records whose owner does not live; see `living`."""
        namespace, now = lib.grd_pid_namespace(), time.monotonic()
        for i in range(count):
            if not self._lives(words[i], namespace, now):
                yield words[i]

    def lives(self, words: Any) -> bool:
        """Tell whether the owner of a `struct grd_slot_record` lives."""
        return self._lives(words, lib.grd_pid_namespace(), time.monotonic())

    def _lives(self, words: Any, namespace: int, now: float) -> bool:
        if words.is_namespace_known and words.namespace != namespace:
            return True
        seen = self._seen.get(words.slot)
        if seen is None or (seen.owner, seen.start) != (words.owner, words.start):
            seen = _Seen(words.owner, words.start, now, -CHECK_SECONDS, True)
        if not words.is_namespace_known:
            seen = seen._replace(lives=now - seen.first < UNKNOWN_SECONDS)
        elif seen.lives:
            seen = _check(seen, words, now)
        self._seen[words.slot] = seen
        return seen.lives


def _check(seen: _Seen, words: Any, now: float) -> _Seen:
    if now - seen.checked < CHECK_SECONDS:
        return seen if lib.grd_process_runs(words.pid) else seen._replace(lives=False)
    return seen._replace(checked=now, lives=_is_its(words, lib.grd_process_start(words.pid)))


def _is_its(words: Any, start: int) -> bool:
    """Tell whether a process that started then is the owner. A start of 0 is not known."""
    if start <= 0:
        return start == 0
    if words.state == lib.GRD_CLAIMED:  # what stands beside the owner word is an earlier owner's
        return words.tag in (0, start & _TAG_MASK)
    return words.start in (0, start)
