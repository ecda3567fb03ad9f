"""A gauge to which each of several processes holds a number: see tally.h.

What a dead process has held is left out. Workers without a slot are one: an arbiter counts those
that it has forked, a process without an arbiter itself. Workers wanted are another, by arbiter.
"""

from __future__ import annotations

from typing import Any

from .._native._scoreboard import ffi, lib
from .liveness import Liveness

MOST = 2**24 - 1
"""The highest number that an entry has room for."""


class Tally:
    """The gauge, as one process sees it.

    Args:
        entries: a `struct grd_tally[]` of the scoreboard's header.
    """

    def __init__(self, entries: Any) -> None:
        self._entries = entries
        self._room = len(entries)
        self._liveness = Liveness()

    def read(self) -> list[int]:
        """Return the number of each process that has one and lives; this changes nothing."""
        return [entry.calling for entry in self._liveness.living(*self._list())]

    def pids(self) -> list[int]:
        """Return the pid of each process that has a number and lives, in its own PID namespace."""
        return [entry.pid for entry in self._liveness.living(*self._list())]

    def add(self, process: Any, n: int) -> None:
        """Add `n` to the number of this process, a `struct grd_owner`."""
        if not lib.grd_tally_add(self._entries, self._room, process, n) and n > 0:
            self.reap()
            lib.grd_tally_add(self._entries, self._room, process, n)

    def set(self, process: Any, n: int) -> None:
        """Have this process, a `struct grd_owner`, hold a number from 1 to MOST."""
        if not lib.grd_tally_set(self._entries, self._room, process, n):
            self.reap()
            lib.grd_tally_set(self._entries, self._room, process, n)

    def reap(self) -> None:
        """Free the entries of dead processes."""
        for dead in self._liveness.dead(*self._list()):
            self._free(dead)

    def reap_all_but_ours(self) -> None:
        """Free each entry whose process is not known to live in this one's PID namespace."""
        namespace = lib.grd_pid_namespace()
        entries, count = self._list()
        for entry in entries[0:count]:
            if not (entry.namespace == namespace and self._liveness.lives(entry)):
                self._free(entry)

    def clear(self) -> None:
        """Free all entries: they are of another boot."""
        entries, count = self._list()
        for entry in entries[0:count]:
            self._free(entry)

    def _free(self, entry: Any) -> None:
        lib.grd_tally_free(self._entries + entry.slot, entry.owner)

    def _list(self) -> tuple[Any, int]:
        records = ffi.new("struct grd_slot_record[]", self._room)
        return records, lib.grd_tally_list(self._entries, self._room, records)
