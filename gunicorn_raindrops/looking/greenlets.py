"""Where requests stand that have a greenlet each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .. import unpatched
from . import frames, threads
from .flight import Flight, Interrupted, Sight
from .frames import Line


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
        sights = {}
        for one in flights:
            running = self._running.get(one.ticket)
            if running is not None:
                sights[one.ticket] = Sight(self._lines(running.greenlet, interrupted))
        return sights

    def _lines(self, greenlet: Any, interrupted: Interrupted) -> list[Line]:
        """Return where a greenlet stands. The one that runs has no frame of its own: its thread's
        stack is its, if it runs still when that is seen. Nor has one that is dead."""
        if greenlet.gr_frame is None:
            lines = frames.stack_of(threads.current(interrupted).get(self._thread))
            if greenlet.gr_frame is None:
                return [] if greenlet.dead else lines
        return frames.stack_of(greenlet.gr_frame)

    def others(self) -> list[Flight]:
        """See Finder."""
        return [
            Flight.of_ticket(ticket, one.method, one.path)
            for ticket, one in list(self._running.items())
        ]
