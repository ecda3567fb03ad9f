"""What the finders of stacks have in common: requests in flight, and what was seen of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NamedTuple, Protocol

from .._native._objects import age_of
from .._native._scoreboard import lib
from .frames import CUT, Line

MOST_METHOD = int(lib.GRD_ENTRY_METHOD)
MOST_PATH = int(lib.GRD_ENTRY_TEXT)


class Flight(NamedTuple):
    """A request in flight. `thread` has begun it; `age` is in nanoseconds."""

    ticket: int
    thread: int
    age: int
    method: str
    path: str

    @classmethod
    def of_ticket(cls, ticket: int, method: str, path: str) -> Flight:
        """Return a request of which the scoreboard has no more than the count. Its line is cut as
        one in the scoreboard is, about."""
        shown = path if len(path) <= MOST_PATH else path[:MOST_PATH] + CUT
        return cls(ticket, 0, age_of(ticket), method[:MOST_METHOD], shown)


class Sight(NamedTuple):
    """What was seen of a request: its lines, the innermost last, and what else is to be said."""

    lines: Sequence[Line]
    note: str = ""


Interrupted = Mapping[int, FrameType]
"""The frames that a signal has interrupted, by thread: what is further in is its handler."""


class Finder(Protocol):
    """Finds where requests stand."""

    def find(self, flights: Sequence[Flight], interrupted: Interrupted) -> dict[int, Sight]:
        """Return what can be told of these requests, by ticket."""

    def others(self) -> list[Flight]:
        """Return requests in flight that it knows itself, where the scoreboard has no room for
        each."""


class Nothing:
    """Finds nothing: requests of which nothing is known."""

    def find(self, flights: Sequence[Flight], interrupted: Interrupted) -> dict[int, Sight]:
        """See Finder."""
        return {}

    def others(self) -> list[Flight]:
        """See Finder."""
        return []
