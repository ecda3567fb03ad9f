"""The slot that this process has attached: the one that its arbiter claimed for it.

A worker attaches one slot, once. A child that the application forks attaches none, and counts
nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .._native._counters import lib
from ..scoreboard.board import FINISHING, READY, Claim, Scoreboard
from .request import begin_ticket, end_ticket, respond_ticket

ready: Callable[[], None] = partial(lib.grd_state, READY)
"""Tell readers that this worker serves requests."""
finishing: Callable[[], None] = partial(lib.grd_state, FINISHING)
"""Tell readers that it takes no more of them."""
set_capacity: Callable[[int], None] = lib.grd_capacity
"""Tell readers how many requests it can run at once."""
show_current: Callable[[bool], None] = lib.grd_show_current
"""Set whether the requests in flight are shown, by method and path."""
keep_current: Callable[[], None] = lib.grd_keep_current
"""Keep from now on what was in flight, also when it ends: this worker is aborted."""


def take_over(board: Scoreboard, claim: Claim, age: int, capacity: int) -> bool:
    """Take over and attach the slot that the arbiter claimed; return whether it was still there."""
    slot = board.take_over_slot(claim, age, capacity)
    if slot is None:
        return False
    lib.grd_attach(board.header, slot)
    return True


class AttachedSlot:
    """The attached slot, as a `HeldSlot`."""

    begin: Callable[[str, str], int] = staticmethod(begin_ticket)
    respond: Callable[[int], None] = staticmethod(respond_ticket)
    end: Callable[[int, int], None] = staticmethod(end_ticket)
    fail: Callable[[], None] = staticmethod(lib.grd_here_fail)
    open: Callable[[], int] = staticmethod(lib.grd_here_open)
    close: Callable[[], None] = staticmethod(lib.grd_here_close)

    def leave(self) -> None:
        """See HeldSlot: the slot stays the process's."""
