"""Workers without a slot, as each process counts its own: see untracked.h.

An arbiter counts those that it has forked, a process without an arbiter counts itself. What a dead
process has counted is left out.
"""

from __future__ import annotations

from typing import Any

from .._native._scoreboard import ffi, lib
from .liveness import Liveness


class Untracked:
    """The gauge of workers without a slot, as one process sees it.

    Args:
        header: the scoreboard's.
    """

    def __init__(self, header: Any) -> None:
        self._header = header
        self._liveness = Liveness()

    def read(self) -> int:
        """Return how many there are; this changes nothing."""
        return sum(entry.calling for entry in self._liveness.living(*self._list()))

    def add(self, process: Any, n: int) -> None:
        """Count `n` more for this process, a `struct grd_owner`."""
        if not lib.grd_add_untracked(self._header, process, n) and n > 0:
            self.reap()
            lib.grd_add_untracked(self._header, process, n)

    def reap(self) -> None:
        """Free the entries of dead processes."""
        for dead in self._liveness.dead(*self._list()):
            lib.grd_free_untracked(self._header, dead.slot, dead.owner)

    def reap_all_but_ours(self) -> None:
        """Free each entry whose process is not known to live in this one's PID namespace."""
        namespace = lib.grd_pid_namespace()
        entries, count = self._list()
        for entry in entries[0:count]:
            if not (entry.namespace == namespace and self._liveness.lives(entry)):
                lib.grd_free_untracked(self._header, entry.slot, entry.owner)

    def clear(self) -> None:
        """Free all entries: they are of another boot."""
        entries, count = self._list()
        for entry in entries[0:count]:
            lib.grd_free_untracked(self._header, entry.slot, entry.owner)

    def _list(self) -> tuple[Any, int]:
        entries = ffi.new("struct grd_slot_record[]", lib.GRD_TALLIES)
        return entries, lib.grd_list_untracked(self._header, entries)
