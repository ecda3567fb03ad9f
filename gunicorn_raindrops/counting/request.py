"""The steps of one request, and its handle where many requests share a thread.

A request is calling, then writing, then over. Where it has a thread of its own, the native module
keeps its phase with the thread: `begin`, `respond`, and one of `END`. A step out of turn counts
nothing. Where requests interleave on a thread or move between threads, `begin_ticket` returns a
ticket for the request, and a `Request` keeps the phase.

All of these count in the slot that this process has attached (see `attached`), and a `Request` in
the slot that it was begun in. A process without a slot counts nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .._native import _objects
from .._native._objects import (
    begin,
    begin_ticket,
    cancel,
    end_other,
    end_ticket,
    fail,
    queued_header,
    queued_ignored,
    respond,
    respond_ticket,
)
from .outcome import CLASSES

__all__ = [
    "CALLING",
    "END",
    "ENDED",
    "WRITING",
    "HeldSlot",
    "Request",
    "begin",
    "begin_ticket",
    "cancel",
    "end_other",
    "end_ticket",
    "fail",
    "queued_header",
    "queued_ignored",
    "respond",
    "respond_ticket",
]

_ENDS = {
    1: _objects.end_1xx,
    2: _objects.end_2xx,
    3: _objects.end_3xx,
    4: _objects.end_4xx,
    5: _objects.end_5xx,
}
END: dict[str, Callable[[], None]] = {start: _ENDS[n] for start, n in CLASSES.items()}
"""What ends a request of this thread, by the first character of its status."""

CALLING, WRITING, ENDED = 0, _objects.WRITING, -1


class HeldSlot(Protocol):
    """A slot as its owner holds it: where a process counts its requests."""

    @property
    def begin(self) -> Callable[[str, str], int]:
        """Begin a request, given its method and its path without query string, which may be shown.
        Return its ticket; 0 in a process that does not hold the slot."""

    @property
    def respond(self) -> Callable[[int], None]:
        """Move the request with this ticket from calling to writing."""

    @property
    def end(self) -> Callable[[int, int], None]:
        """End the request with this ticket; `how` is as `end_ticket` takes it."""

    @property
    def fail(self) -> Callable[[], None]:
        """Count an error for a request that has ended already."""

    @property
    def open(self) -> Callable[[], Any]:
        """Count an open websocket; return whether it counts."""

    @property
    def close(self) -> Callable[[], None]:
        """Count a websocket no longer."""

    def leave(self) -> None:
        """Give the slot up."""


class Request:
    """One request, from its begin to its end; a step out of turn counts nothing.

    Its steps may be taken in different threads, one at a time.
    """

    __slots__ = ("_held", "_phase", "ticket")

    def __init__(self, held: HeldSlot, ticket: int) -> None:
        """Go on with a request that was begun in the slot `held`."""
        self._held = held
        self.ticket = ticket
        self._phase = CALLING

    def respond(self) -> None:
        """Go from calling to writing."""
        if self._phase == CALLING:
            self._phase = WRITING
            self._held.respond(self.ticket)

    def end(self, hundreds: int, failed: bool = False) -> None:
        """End it.

        Args:
            hundreds: the class of the status that the client got, 1 to 5; 0 when it got none, or
                a strange one.
            failed: its application raised.
        """
        phase, self._phase = self._phase, ENDED
        if phase != ENDED:
            self._held.end(self.ticket, phase | hundreds | (_objects.ERROR if failed else 0))

    def cancel(self) -> None:
        """Take it back: it never reached the application."""
        phase, self._phase = self._phase, ENDED
        if phase != ENDED:
            self._held.end(self.ticket, phase | _objects.CANCELLED)
