"""Where requests stand that have a thread each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType

from . import frames
from .flight import Flight, Interrupted, Nothing, Sight


def current(interrupted: Interrupted) -> dict[int, FrameType]:
    """Return the innermost frame of each thread."""
    return {**sys._current_frames(), **interrupted}


class OfThread(Nothing):
    """A request is all that its thread does."""

    def find(self, flights: Sequence[Flight], interrupted: Interrupted) -> dict[int, Sight]:
        """See Finder."""
        found = current(interrupted)
        return {
            one.ticket: Sight(frames.stack_of(found[one.thread]))
            for one in flights
            if one.thread in found
        }
