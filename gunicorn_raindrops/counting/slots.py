"""A slot for each process that forks, where no arbiter gives one.

Who owns what. A scoreboard made before the fork is shared by all processes. A process holds no
slot in it until its first request. Then it claims a slot, takes it over, and holds it until it
dies. Readers then find it dead, and the slot is freed. So a server may fork as it likes, and needs
no hook.

What fork does to it. A child has its parent's held slots and requests in its memory. They count
nothing there (see requests.h), and the child's own first request takes over a slot of its own.
Held slots are found by the number of forks behind a process, which no ancestor of it shares. There
is no lock: at the fork, another thread could have held it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from .. import shm
from .._native._objects import Tickets, forks
from ..mapping import location_of
from ..scoreboard.board import READY, Claim, Scoreboard
from .request import WRITING, HeldSlot

RETRY_SECONDS = 10.0  # a process without a slot looks at all of them again, which takes ms
SHARE_SECONDS = 2.0  # within which the process that prepares a shared file has done so


class BoardSlot(Tickets):
    """A held slot in a scoreboard."""

    def __init__(self, board: Scoreboard, claim: Claim, slot: Any) -> None:
        self._board = board
        self._claim = claim
        self._hold(location_of(board.header), location_of(slot), board)
        self.set_state(READY)

    def leave(self) -> None:
        """See HeldSlot: the slot is free again."""
        self._board.release(self._claim)


class StatsSlot:
    """Stands in for a slot: moves the members `calling` and `writing` of a Struct, nothing else."""

    def __init__(self, stats: shm.Struct) -> None:
        self._stats = stats
        self._forks = forks()

    def begin(self, method: str, path: str) -> int:
        """See HeldSlot: a Struct has no room for more than the count."""
        if self._forks != forks():
            return 0
        self._stats.incr_calling()
        return 1

    def respond(self, ticket: int) -> None:
        """See HeldSlot."""
        if self._forks == forks():
            self._stats.incr_writing()
            self._stats.decr_calling()

    def end(self, ticket: int, how: int) -> None:
        """See HeldSlot."""
        if self._forks == forks():
            leave = self._stats.decr_writing if how & WRITING else self._stats.decr_calling
            leave()

    def fail(self) -> None:
        """See HeldSlot: the Struct has no member for errors."""

    def open(self) -> bool:
        """See HeldSlot: the Struct has no member for websockets."""
        return False

    def close(self) -> None:
        """See HeldSlot: the Struct has no member for websockets."""

    def leave(self) -> None:
        """See HeldSlot: nothing is held."""


class SlotOfProcess:
    """The held slot of the process that asks.

    Args:
        hold: takes over a slot for this process; returns None if none is free.
    """

    def __init__(self, hold: Callable[[], HeldSlot | None]) -> None:
        self._hold = hold
        self._last: HeldSlot | None = None
        self._by_forks: dict[int, HeldSlot] = {}
        self._full: dict[int, float] = {}
        forks()  # they are counted from the first call on

    def begin(self, method: str, path: str) -> tuple[HeldSlot, int] | None:
        """Begin a request in this process's slot; return the slot and the request's ticket, or
        None if no slot is free."""
        held = self._last
        if held is not None and (ticket := held.begin(method, path)):
            return held, ticket
        held = self.find()
        if held is None or not (ticket := held.begin(method, path)):
            return None
        self._last = held
        return held, ticket

    def find(self) -> HeldSlot | None:
        """Return this process's slot; None if no slot is free."""
        behind = forks()
        held = self._by_forks.get(behind)
        if held is None and time.monotonic() >= self._full.get(behind, 0.0):
            held = self._take_over(behind)
        return held

    def _take_over(self, behind: int) -> HeldSlot | None:
        mine = self._hold()
        if mine is None:
            self._full[behind] = time.monotonic() + RETRY_SECONDS
            return None
        held = self._by_forks.setdefault(behind, mine)
        if held is not mine:  # another thread of this process was quicker
            mine.leave()
        return held


class BoardSlotOfProcess(SlotOfProcess):
    """The held slot in a scoreboard; a process that finds none free is counted as untracked.

    Args:
        board: the scoreboard.
        holds: called with the slot that a process has taken over, at its first request.
    """

    def __init__(
        self, board: Scoreboard, holds: Callable[[BoardSlot], object] = lambda slot: None
    ) -> None:
        super().__init__(partial(_hold, board))
        self._holds = holds
        self._board = board
        self._untracked: dict[int, object] = {}

    def _take_over(self, behind: int) -> HeldSlot | None:
        held = super()._take_over(behind)
        if held is None:
            token = object()
            if self._untracked.setdefault(behind, token) is token:
                self._board.add_untracked(1)
        else:
            if self._untracked.pop(behind, None) is not None:
                self._board.add_untracked(-1)
            if isinstance(held, BoardSlot):
                self._holds(held)
        return held


def _hold(board: Scoreboard) -> BoardSlot | None:
    board.watch()  # the application is loaded, and may have replaced the guard
    with contextlib.suppress(OSError):
        board.hold_lock()  # a process that counts here uses the file, whoever made the board
    board.reap()  # no arbiter does
    claim = board.claim_or_reap()
    slot = None if claim is None else board.take_over_slot(claim)
    return None if claim is None or slot is None else BoardSlot(board, claim, slot)


def share(slots: int, file: str) -> Scoreboard:
    """Return the scoreboard in a file that processes share which have no parent's memory in common.

    The first of them makes it right and the others join it. While one of them has it, no arbiter
    takes the file for its own, nor is one's taken from it.

    Raises:
        ValueError: `file` holds something else, or another format of this.
        BlockingIOError: an arbiter has it.
        OSError: it cannot be opened, grown or mapped.
    """
    until = time.monotonic() + SHARE_SECONDS
    while True:
        with contextlib.suppress(BlockingIOError):
            return Scoreboard(slots, file, joinable=True)
        try:
            return Scoreboard.join(file)
        except BlockingIOError:  # somebody leads, or an arbiter has it
            if time.monotonic() > until:
                raise
        time.sleep(0.01)
