"""Freeing what the dead have left.

Reading frees nothing: it leaves a dead owner out. Slots are freed by those whose business it is:
the arbiter, the leading worker each second, a process that is about to claim a slot. A process may
be killed in the middle of that; the next one finishes what it has left undone.
"""

from __future__ import annotations

from typing import Any

from .._native._scoreboard import ffi, lib
from .liveness import Liveness


class Reaper:
    """Frees slots of one scoreboard, for one process.

    Args:
        header: the scoreboard's.
        slots: its slots.
        liveness: what this process knows of their owners.
    """

    def __init__(self, header: Any, slots: Any, liveness: Liveness) -> None:
        self._header = header
        self._slots = slots
        self._liveness = liveness
        self._look = ffi.new("struct grd_look *")
        self._found_dead: set[tuple[int, int]] = set()

    def reap(self, count: int) -> None:
        """Free the first `count` slots where their owner is dead, and settle what it has left."""
        for slot, owner in self._dead(count):
            self._free(slot, owner)
        self._settle(count)

    def reap_abandoned(self, count: int) -> None:
        """Free those only whose owner was found dead at the last call of this as well.

        A slot that is freed has forgotten what its owner was in. So the arbiter, which records that
        when it reaps a worker, must come first. A worker that it never reaps is freed here.
        """
        found = self._dead(count)
        for slot, owner in found & self._found_dead:
            self._free(slot, owner)
        self._found_dead = found
        self._settle(count)

    def _dead(self, count: int) -> set[tuple[int, int]]:
        """Return slot and owner word of each dead owner."""
        words = ffi.new("struct grd_slot_record[]", count)
        found = lib.grd_list(self._slots, count, words)
        return {(dead.slot, dead.owner) for dead in self._liveness.dead(words, found)}

    def reap_all_but_ours(self, count: int) -> None:
        """Free each slot whose owner is not known to live in this process's PID namespace: to be
        called by a process that has locked the file for itself, see `memory.BoardMemory`."""
        namespace = lib.grd_pid_namespace()
        words = ffi.new("struct grd_slot_record[]", count)
        for i in range(lib.grd_list(self._slots, count, words)):
            is_ours = words[i].is_namespace_known and words[i].namespace == namespace
            if not (is_ours and self._liveness.lives(words[i])):
                self._free(words[i].slot, words[i].owner)
        self._settle(count)

    def _free(self, slot: int, owner: int) -> None:
        # Fails if the slot was freed meanwhile, or freed and claimed: then all is well.
        lib.grd_free(self._header, self._slots + slot, owner)

    def _settle(self, count: int) -> None:
        lib.grd_settle_free(self._slots, count)
        lib.grd_correct_level(self._header, self._slots, count, self._look)
