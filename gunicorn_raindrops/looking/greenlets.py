"""Where requests stand that have a greenlet each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .. import unpatched
from . import frames, threads
from .flight import Flight, Interrupted, Sight


class Running(NamedTuple):
    """A request's greenlet, its method and its path."""

    greenlet: Any
    method: str
    path: str


class OfGreenlets:
    """Requests with a greenlet each.

    To be made on the hub's thread.

    Args:
        running: those in flight, by ticket.
    """

    def __init__(self, running: Mapping[int, Running]) -> None:
        self._running = running
        self._thread = unpatched.original("_thread", "get_ident")()

    def find(self, flights: Sequence[Flight], interrupted: Interrupted) -> dict[int, Sight]:
        """See Finder."""
        of_thread = threads.current(interrupted).get(self._thread)
        sights = {}
        for one in flights:
            running = self._running.get(one.ticket)
            if running is not None:
                # the one that runs has no frame of its own: its thread's stack is its
                frame = running.greenlet.gr_frame or of_thread
                sights[one.ticket] = Sight(frames.stack_of(frame))
        return sights

    def others(self) -> list[Flight]:
        """See Finder."""
        return [
            Flight.of_ticket(ticket, one.method, one.path)
            for ticket, one in list(self._running.items())
        ]
