"""The scoreboard: a slot per worker in shared memory, and what may be done with one.

Who owns what. The arbiter makes the scoreboard before its first fork and claims a slot for each
worker that it forks; during an upgrade two arbiters do. The worker takes the slot over, and from
then on only its threads write to the slot's counters. Anybody may free the slot of an owner that
is dead; the layout (see scoreboard.h) makes a second freeing, or a late one, harmless.

What must be true at any time:

- Totals only grow. They belong to the slot, not to the worker, so nothing is moved when a worker
  dies; what one worker did is the difference to what the slot held when it took it.
- A gauge counts only as long as the owner that wrote it lives. An owner is known by pid and start
  time, so a reused pid does not revive it.
- What stands in the pages may have been scribbled on by a hostile worker. It can spoil figures.
  Nothing here signals a pid, follows an offset or trusts a length that it read there.

What fork does to it: the pages stay shared. A child that the application forks is detached: it
would otherwise end its parent's requests.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import Any

from .. import mapping as pages
from .._native._counters import ffi, lib
from . import decode, exits
from . import layout as board_file
from .records import HEADER, SOCKET, KillRecord, Marks, Reading

FREE, CLAIMED, STARTING, READY, FINISHING = (
    lib.GRD_FREE,
    lib.GRD_CLAIMED,
    lib.GRD_STARTING,
    lib.GRD_READY,
    lib.GRD_FINISHING,
)

MARK_SECONDS: int = lib.GRD_MARK_SECONDS - 1
"""For how long high-water marks are kept."""
_SOURCES = {SOCKET: lib.GRD_QUEUE_SOCKET, HEADER: lib.GRD_QUEUE_HEADER}


@dataclass(frozen=True)
class Claim:
    """A slot that was claimed: its index, and the owner word that the claim left there."""

    slot: int
    owner: int


class Scoreboard:
    """A scoreboard in shared memory.

    Args:
        slots: how many workers it has room for.
        file: keep it in this file, with the totals that stand there already.

    Raises:
        ValueError: `file` holds something else, or another format of this.
        BlockingIOError: another server uses `file`.
        OSError: `file` cannot be opened, grown or mapped.
    """

    def __init__(self, slots: int, file: str | None = None) -> None:
        self._fd = pages.open_shared(file, "gunicorn-raindrops")
        try:
            if file is not None:
                board_file.lock(self._fd)
                slots = max(slots, board_file.slots_of(self._fd, file))
            self._map(slots, named=file is not None)
        except BaseException:
            os.close(self._fd)
            raise
        if file is None:
            pages.seal(self._fd)
        self._adopt()

    @classmethod
    def adopt(cls, fd: int) -> Scoreboard:
        """Return the scoreboard behind a descriptor, which another arbiter uses as well.

        Raises:
            ValueError: there is none.
            OSError: it cannot be mapped.
        """
        board = cls.__new__(cls)
        board._fd = fd
        slots = board_file.slots_of(fd, f"descriptor {fd}")
        if not slots:
            raise ValueError(f"descriptor {fd} is not a scoreboard")
        board._map(slots, named=False)
        return board

    def _map(self, slots: int, *, named: bool) -> None:
        self.slots = slots
        length = board_file.HEADER_SIZE + slots * board_file.SLOT_SIZE
        (pages.reserve if named else pages.reserve_lazily)(self._fd, length)
        fd = board_file.reopen(self._fd)
        try:
            # an unnamed file is sealed and has no name by which it could be cut short
            self._mapping = pages.Mapping(fd, length, guarded=os.fstat(fd).st_nlink > 0)
        finally:
            os.close(fd)
        base = ffi.cast("char *", self._mapping.address)
        self._header = ffi.cast("struct grd_header *", base)
        self._slots = ffi.cast("struct grd_slot *", base + board_file.HEADER_SIZE)

    def _adopt(self) -> None:
        """Make the header right, and free the slots of whoever is not there any more."""
        header, boot = self._header, board_file.boot_id()
        if bytes(ffi.buffer(header.boot_id)).rstrip(b"\0") != boot:
            header.marks = ffi.new("struct grd_marks *")[0]
            for i in range(lib.grd_used(header, self.slots)):  # its pids say nothing here
                lib.grd_forget(header, self._slots + i)
        now = time.monotonic_ns()
        header.version = board_file.VERSION
        header.header_size = board_file.HEADER_SIZE
        header.slot_size = board_file.SLOT_SIZE
        header.slots = self.slots
        header.length = self._mapping.length
        header.created = now
        header.unix_offset = time.time_ns() - now
        header.boot_id = boot.ljust(40, b"\0")
        header.untracked = 0
        header.magic = board_file.MAGIC
        self.reap()

    # The arbiter's side.

    def claim(self, pid: int | None = None) -> Claim | None:
        """Claim a free slot, for a worker about to be forked or for the one with this pid; None
        when there is none."""
        slot = lib.grd_claim(self._header, self._slots, self.slots, _who(pid or os.getpid()))
        return self._claim_of(slot)

    def find_claim(self) -> Claim | None:
        """Return what was claimed for this process since it was forked."""
        slot = lib.grd_find_claimed(self._slots, self.slots, _who(os.getpid()))
        return self._claim_of(slot)

    def _claim_of(self, slot: int) -> Claim | None:
        return None if slot < 0 else Claim(slot, lib.grd_owner(self._slots + slot))

    def release(self, claim: Claim) -> None:
        """Free a claimed slot, unless it has been freed since: its worker is gone."""
        lib.grd_free_generation(self._header, self._slots + claim.slot, claim.owner)

    def record_kill(self, claim: Claim, pid: int, cause: str) -> KillRecord | None:
        """Count the end of a worker that was reaped, unless it has said itself why it went;
        returns what is known of one that has not. To be called before it is released."""
        slot, row = self._slots + claim.slot, ffi.new("struct grd_slot_record *")
        known = lib.grd_last(slot, claim.owner, row)
        if not lib.grd_exit(self._header, slot, claim.owner, exits.CAUSES[cause]) or not known:
            return None
        row.pid = pid  # a reader may have freed the slot already
        return exits.keep(self._header, claim.slot, row, cause)

    def exit(self, claim: Claim, cause: str) -> None:
        """Count the end of this process, which has taken the claimed slot and leaves it now."""
        lib.grd_exit(self._header, self._slots + claim.slot, claim.owner, exits.CAUSES[cause])

    def reap(self) -> None:
        """Free every slot whose owner is dead."""
        self.read()

    def add_untracked(self, n: int) -> None:
        """Count a worker without a slot (1), or one less (-1)."""
        lib.grd_add_untracked(self._header, n)

    # The worker's side.

    def take_over_slot(self, claim: Claim, age: int = 0, capacity: int = 0) -> Any | None:
        """Take over a claimed slot and return it; None if it was not there any more.

        It is valid as long as this scoreboard is.
        """
        slot, pid = self._slots + claim.slot, os.getpid()
        owner = ffi.new("struct grd_slot_record *")
        owner.owner = _who(pid)
        owner.start = max(lib.grd_process_start(pid), 0)
        owner.age, owner.capacity = age, capacity
        owner.started = time.monotonic_ns()
        return slot if lib.grd_take_over(slot, claim.owner, owner) else None

    @property
    def created(self) -> float:
        """When its first process made it, in seconds of the monotonic clock."""
        return float(self._header.created / 1e9)

    def fileno(self) -> int:
        """Return the descriptor of the memory."""
        return self._fd

    def forget_file(self) -> None:
        """Close the descriptor: a worker needs the pages only, and could shrink the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # The reader's side.

    @property
    def lost(self) -> bool:
        """Whether the file was cut short: what is counted from then on is nobody's."""
        return self._mapping.lost

    def read(self) -> Reading:
        """Read all slots; those whose owner is dead are freed, and show nothing but totals.

        Raises:
            OSError: the pages are lost.
        """
        # The buffers are this call's own: two threads may read at once.
        used = lib.grd_used(self._header, self.slots)
        rows = ffi.new("struct grd_slot_record[]", used)
        busy = ffi.new("uint64_t[]", used)
        totals = ffi.new("struct grd_totals *")
        taken = lib.grd_read(self._header, self._slots, used, rows, totals, busy)
        if self.lost:
            raise OSError("the scoreboard's file was cut short while it was in use")
        return Reading(
            slots=self.slots,
            untracked=self._header.untracked,
            requests=totals.requests,
            responses=tuple(totals.responses),
            errors=totals.errors,
            rows=tuple(
                decode.slot(rows[i]) for i in range(taken) if not self._free_if_dead(rows[i])
            ),
            request_seconds=decode.distribution(totals.request),
            queue_seconds={
                source: decode.distribution(totals.queue[i]) for source, i in _SOURCES.items()
            },
            queue_ignored=totals.queue_ignored,
            busy_seconds=tuple(ns / 1e9 for ns in busy),
            exits=exits.counts(self._header),
            killed=exits.kept(self._header),
        )

    def leads(self, pid: int) -> bool:
        """Tell whether this process has the lowest slot of all that serve: one of them at a time
        does what one should do for all. Those that are dead are passed over, not freed."""
        used = lib.grd_used(self._header, self.slots)
        row = ffi.new("struct grd_slot_record *")
        slot = lib.grd_find(self._slots, used, 0, READY, row)
        while slot >= 0:
            if _alive(row):
                return bool(row.pid == pid)
            slot = lib.grd_find(self._slots, used, slot + 1, READY, row)
        return False

    def marks(self, seconds: float) -> Marks:
        """Return the high-water marks of the last `seconds`, up to MARK_SECONDS. They are kept by
        the second: up to one more counts."""
        most = ffi.new("struct grd_high_water *")
        lib.grd_most(self._header, min(math.ceil(max(seconds, 0)), MARK_SECONDS), most)
        return Marks(*most.mark)

    def saw_queued(self, queued: int) -> None:
        """Remember how many connections wait, for the marks."""
        lib.grd_saw_queued(self._header, queued)

    @property
    def header(self) -> Any:
        """The header. It is valid as long as this scoreboard is."""
        return self._header

    def _free_if_dead(self, row: Any) -> bool:
        if _alive(row):
            return False
        # Fails where it has been freed, or freed and claimed, meanwhile: then all is well.
        lib.grd_free(self._header, self._slots + row.slot, row.owner)
        return True


def _who(pid: int) -> int:
    return int(lib.grd_who(pid, max(lib.grd_process_start(pid), 0)))


def lives(pid: int) -> bool:
    """Tell whether there is a process with this pid, and not as a zombie."""
    return bool(lib.grd_process_start(pid) >= 0)


def _alive(row: Any) -> bool:
    """Tell whether a row's owner still lives: its pid does, and it started when the owner did."""
    start = lib.grd_process_start(row.pid)
    if start <= 0:
        return bool(start == 0)
    if start & ((1 << lib.GRD_TAG_BITS) - 1) != row.tag:
        return False
    # While a slot is claimed, there is no start beside it.
    return bool(row.state == lib.GRD_CLAIMED or row.start == start)
