"""Where requests stand that a thread is inside of, as its stack tells."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from types import FrameType

from ..counting import wsgi
from . import frames, threads
from .flight import Flight, Interrupted, Nothing, Sight


class OfCall(Nothing):
    """A request is seen on a thread's stack, in our wrapper's call of the application, or of what
    that has returned."""

    def find(self, flights: Sequence[Flight], interrupted: Interrupted) -> dict[int, Sight]:
        """See Finder."""
        wanted, sights = {one.ticket for one in flights}, {}
        for innermost in threads.current(interrupted).values():
            for frame in islice(frames.outwards(innermost), frames.MOST_FRAMES):
                ticket = _ticket_of(frame)
                if ticket in wanted:
                    sights[ticket] = Sight(frames.stack_of(innermost))
        return sights


_CALL = wsgi.call.__code__
_BODY = {wsgi.Body.__iter__.__code__, wsgi.Body.__next__.__code__, wsgi.Body.close.__code__}


def _ticket_of(frame: FrameType) -> int | None:
    """Return the ticket of the request whose application or body this frame has called."""
    if frame.f_code is _CALL:
        ticket: int | None = frame.f_locals.get("ticket")
        return ticket
    if frame.f_code in _BODY:
        body: wsgi.Body = frame.f_locals["self"]
        return body.ticket
    return None
