"""The scoreboard: a slot per worker in shared memory, and what may be done with one.

Who owns what. The arbiter makes the scoreboard (see `memory`) before its first fork, and claims a
slot for each worker that it forks; during an upgrade two arbiters do. The worker takes the slot
over, and from then on only its threads write to the slot's counters. The slot of a dead owner is
freed by its arbiter, or reaped (see `reap`); the layout (see layout.h) makes a second freeing, or a
late one, harmless. Readers write nothing: see `reader`.

What must be true at any time:

- Totals only grow. They belong to the slot, not to the worker, so nothing is moved when a worker
  dies; what one worker did is the difference to what the slot held when it took it over.
- A gauge counts only as long as the owner that wrote it lives.
- What stands in the pages may have been scribbled on by a hostile worker. It can spoil figures.
  Nothing here signals a pid, follows an offset or trusts a length that it read there.

What fork does to it: the pages stay shared. A child that the application forks is detached: it
would otherwise end its parent's requests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._native._scoreboard import ffi, lib
from . import exits, tally
from .liveness import lives as lives
from .memory import BoardMemory
from .reader import MARK_SECONDS as MARK_SECONDS
from .records import KillRecord

FREE, CLAIMED, STARTING, READY, FINISHING = (
    lib.GRD_FREE,
    lib.GRD_CLAIMED,
    lib.GRD_STARTING,
    lib.GRD_READY,
    lib.GRD_FINISHING,
)


@dataclass(frozen=True)
class Claim:
    """A slot that was claimed: its index, and the owner word that the claim left there."""

    slot: int
    owner: int


class Scoreboard(BoardMemory):
    """A scoreboard, for a process that serves. It is made as `BoardMemory` says."""

    # The arbiter's side.

    def claim(self, pid: int | None = None) -> Claim | None:
        """Claim a free slot, for a worker about to be forked or for the one with this pid; None
        when there is none."""
        owner = _owner()
        if pid is not None:
            owner.who = lib.grd_who(pid, max(lib.grd_process_start(pid), 0))
        return self._claim_of(lib.grd_claim(self._header, self._slots, self.slots, owner))

    def claim_or_reap(self) -> Claim | None:
        """Claim a free slot, if need be one that a dead owner has left; None when there is none."""
        claim = self.claim()
        if claim is None:
            lib.grd_raise_used(self._header, self.slots)  # whatever stands there: none is free
            self.reap()
            claim = self.claim()
        return claim

    def find_claim(self) -> Claim | None:
        """Return what was claimed for this process since it was forked."""
        return self._claim_of(lib.grd_find_claimed(self._slots, self.slots, _owner().who))

    def _claim_of(self, slot: int) -> Claim | None:
        return None if slot < 0 else Claim(slot, lib.grd_owner(self._slots + slot))

    def release(self, claim: Claim) -> None:
        """Free a claimed slot, unless it has been freed since: its worker is gone."""
        lib.grd_free_generation(self._header, self._slots + claim.slot, claim.owner)

    def record_kill(self, claim: Claim, pid: int, cause: str) -> KillRecord | None:
        """Count the end of a worker that was reaped, unless it has said itself why it went;
        returns what is known of one that has not. To be called before it is released."""
        slot, row = self._slots + claim.slot, ffi.new("struct grd_slot_record *")
        known = lib.grd_read_last(slot, claim.owner, row)
        if not lib.grd_exit(self._header, slot, claim.owner, exits.CAUSES[cause]) or not known:
            return None
        row.pid = pid  # that of the claim is the arbiter's
        return exits.keep(self._header, claim.slot, row, cause)

    def exit(self, claim: Claim, cause: str) -> None:
        """Count the end of this process, which has taken the claimed slot and leaves it now."""
        lib.grd_exit(self._header, self._slots + claim.slot, claim.owner, exits.CAUSES[cause])

    def reap(self) -> None:
        """Free every slot whose owner is dead, of this process's PID namespace."""
        self._reaper.reap(self._used())
        self._untracked.reap()
        self._wanted.reap()

    def reap_abandoned(self) -> None:
        """Free the slots of those whom this process found dead at its last call, too: their arbiter
        has had its time to free them, and to record how they ended."""
        self._reaper.reap_abandoned(self._used())
        self._untracked.reap()
        self._wanted.reap()

    def add_untracked(self, n: int) -> None:
        """Count a worker without a slot (1), or one less (-1)."""
        self._untracked.add(_owner(), n)

    def want(self, workers: int) -> None:
        """Tell how many workers this process means to have: it is an arbiter."""
        self._wanted.set(_owner(), min(workers + 1, tally.MOST))  # 0 is a number, too

    # The worker's side.

    def take_over_slot(
        self,
        claim: Claim,
        age: int = 0,
        capacity: int = 0,
        *,
        prepare: Callable[[], object] | None = None,
    ) -> Any | None:
        """Take over a claimed slot and return it; None if it was not there any more.

        It is valid as long as this scoreboard is.

        Args:
            claim: what was claimed for this process.
            age: gunicorn's ordinal of the worker.
            capacity: requests that it can run at once.
            prepare: called once the slot is this process's, and before readers see that.
        """
        slot, owner = self._slots + claim.slot, _owner()
        owner.age, owner.capacity = age, capacity
        taken = lib.grd_take_over(slot, claim.owner, owner)
        if not taken:
            return None
        if prepare is not None:
            prepare()
        return slot if lib.grd_publish(slot, taken) else None

    def show(self, claim: Claim) -> None:
        """Have readers look as far as a slot of this process's. They do since it was claimed,
        unless somebody has scribbled there."""
        lib.grd_raise_used(self._header, claim.slot + 1)

    @property
    def header(self) -> Any:
        """The header, for who holds a slot. It is valid as long as this scoreboard is."""
        return self._header

    # Each second, in one worker.

    def leads(self, pid: int) -> bool:
        """Tell whether this process has the lowest slot of all that serve: one of them at a time
        does what one should do for all. Dead owners are passed over."""
        serving = ((words.pid, words.namespace) for words in self._living() if words.state == READY)
        return next(serving, None) == (pid, lib.grd_pid_namespace())

    def saw_queued(self, queued: int) -> None:
        """Remember how many connections are queued, for the marks."""
        lib.grd_saw_queued(self._header, queued)

    def saw_waiting(self, waiting: int | None) -> None:
        """Remember how many requests wait inside, for the marks; None: it is not known."""
        if waiting is not None:
            lib.grd_saw_waiting(self._header, waiting)


def _owner() -> Any:
    """Return what a slot is told of this process, as its owner."""
    pid = os.getpid()
    owner = ffi.new("struct grd_owner *")
    owner.start = max(lib.grd_process_start(pid), 0)
    owner.who = lib.grd_who(pid, owner.start)
    owner.namespace = lib.grd_pid_namespace()
    owner.started = time.monotonic_ns()
    return owner
