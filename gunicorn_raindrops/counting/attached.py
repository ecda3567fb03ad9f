"""The slot that this process has attached: the one that its arbiter claimed for it.

A worker attaches one slot, once. A child that the application forks attaches none, and counts
nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .._native import _objects
from .._native._objects import (
    fetch_over,
    flights,
    in_flight,
    keep_current,
    keep_slow,
    say_where,
    set_capacity,
    show_current,
    turned,
)
from ..mapping import location_of
from ..scoreboard.board import FINISHING, READY, Claim, Scoreboard

__all__ = [
    "AttachedSlot",
    "fetch_over",
    "finishing",
    "flights",
    "in_flight",
    "keep_current",
    "keep_slow",
    "ready",
    "say_where",
    "set_capacity",
    "show_current",
    "take_over",
    "turned",
]

ready: Callable[[], None] = partial(_objects.set_state, READY)
"""Tell readers that this worker serves requests."""
finishing: Callable[[], None] = partial(_objects.set_state, FINISHING)
"""Tell readers that it takes no more of them."""


def take_over(
    board: Scoreboard,
    claim: Claim,
    age: int,
    capacity: int,
    *,
    prepare: Callable[[], object] | None = None,
) -> bool:
    """Take over and attach the slot that the arbiter claimed; return whether it was still there.
    `prepare` is called in between: see `Scoreboard.take_over_slot`."""
    slot = board.take_over_slot(claim, age, capacity, prepare=prepare)
    if slot is None:
        return False
    _objects.attach(location_of(board.header), location_of(slot), board)
    return True


class AttachedSlot:
    """The attached slot, as a `HeldSlot`."""

    begin = staticmethod(_objects.begin_ticket)
    respond = staticmethod(_objects.respond_ticket)
    end = staticmethod(_objects.end_ticket)
    fail = staticmethod(_objects.fail_ended)
    open = staticmethod(_objects.open_websocket)
    close = staticmethod(_objects.close_websocket)

    def leave(self) -> None:
        """See HeldSlot: the slot stays the process's."""
