"""Looks at the requests of this process that take long, and says what they are doing.

Who looks: the status thread, each second, and when a request passes the age `slow`. Nothing is done
for a request under a second. The status thread may not log where locks are patched; `tell` sees to
that.

What comes of a look: the line that each of these requests stands at goes into its entry in the
scoreboard, for all readers. Their stacks go into memory that the arbiter reads when this process
was killed by its timeout. A process that gets SIGABRT looks once more, in the signal's handler, if
that still runs. Requests past `slow` are logged, once each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from .. import unpatched
from . import frames
from .flight import Finder, Flight, Interrupted, Sight

SECOND = 1_000_000_000
AGE = SECOND
"""From which on a request is looked at, in ns."""
MOST = 32
"""Requests that are looked at at once: those that are to be told of, then the oldest."""
MOST_TEXT = 15_000
"""Characters of stacks that are kept for the arbiter, about."""
EACH = 0.9
"""Seconds after which all are looked at again, if looks for `slow` come in between."""
LEAST = 0.25
"""Seconds between two looks at those that have just become old enough."""
PAUSE_SECONDS = 0.0002
"""For which the interpreter is left to other threads, now and then."""
SHARE = 10
"""Times the processor time that a look took, until the next one."""


class Held(Protocol):
    """The requests of a slot."""

    def flights(self, age: int, /) -> list[tuple[int, int, int, str, str]]:
        """Return the fields of a `Flight` for each request of this age, in ns, or older."""

    def say_where(self, ticket: int, where: str, /) -> bool:
        """Say what a request is doing."""


class Kept(Held, Protocol):
    """The requests of a slot, those that have ended included."""

    def in_flight(self) -> int:
        """Return how many requests there are, also those that `flights` cannot know."""

    def keep_slow(self, slow: int, /) -> None:
        """Keep the requests that end after so many ns, for `fetch_over`."""

    def fetch_over(self) -> tuple[int, list[tuple[int, int, int, str, str]]]:
        """Return how many have ended since the last call, and the last of them."""


class Looker:
    """Looks at the requests of one slot.

    Args:
        held: the slot.
        finder: finds where requests stand.
        keep: keeps the stacks of all that is looked at, for the arbiter.
        shows: whether requests are named there; else their stacks stand for them.
    """

    def __init__(
        self, held: Held, finder: Finder, keep: Callable[[str], object], *, shows: bool = True
    ) -> None:
        self._held = held
        self._finder = finder
        self._keep = keep
        self._shows = shows
        self._has_kept = self._is_aborted = False
        self._sleep = unpatched.original("time", "sleep")

    def look(self) -> float | None:
        """Look at the requests that take long. Return in how many seconds the next look is due;
        None: a second after this one."""
        flights = self._flights()
        self._see([one for one in flights if one.age >= AGE])
        return _next_look(flights)

    def abort(self, interrupted: Interrupted) -> None:
        """Look at all that is in flight, for the last time: what the process does from now on is
        its end."""
        self._is_aborted = True
        flights = self._flights()[:MOST]
        sights = self._find(flights, interrupted)
        self._say(sights)
        self._keep(_report(flights, sights, self._shows))

    def finish(self) -> None:
        """Tell what there is to tell before this process ends."""

    def _flights(self) -> list[Flight]:
        """Return the requests in flight that the slot has entries for, the oldest first."""
        found = [Flight(*one) for one in self._held.flights(0)]
        return sorted(found, key=lambda one: -one.age)

    def _see(self, flights: Sequence[Flight]) -> dict[int, Sight]:
        """Look at these, and say where they stand; return what was seen."""
        if self._is_aborted or not (flights or self._has_kept):
            return {}
        sights = self._find(flights[:MOST], {})
        self._sleep(PAUSE_SECONDS)
        text = _report(flights, sights, self._shows)
        self._sleep(PAUSE_SECONDS)
        if not self._is_aborted:  # not meanwhile
            self._has_kept = bool(flights)
            self._say(sights)
            self._keep(text)
        return sights

    def _find(self, flights: Sequence[Flight], interrupted: Interrupted) -> dict[int, Sight]:
        if not flights:
            return {}
        sights = self._finder.find(flights, interrupted)
        # what is over by now may have been another request's thread, when that was looked at
        inside = {ticket for ticket, *_ in self._held.flights(0)}
        for one in flights:
            if one.thread and one.ticket not in inside:
                sights.pop(one.ticket, None)
        return sights

    def _say(self, sights: dict[int, Sight]) -> None:
        for ticket, sight in sights.items():
            where = frames.where(sight.lines, sight.note)
            if where is not None:
                self._held.say_where(ticket, where)


class SlowLooker(Looker):
    """Also logs each request that takes longer than `slow`, once.

    A look comes when a request in flight passes that age. One that ends before the status thread
    gets the interpreter is logged afterwards, without a stack.

    Args:
        held, finder, keep, shows: see the base class. What is told of is named in any case.
        slow: seconds.
        tell: logs a warning.
    """

    def __init__(
        self,
        held: Kept,
        finder: Finder,
        keep: Callable[[str], object],
        *,
        shows: bool = True,
        slow: float,
        tell: Callable[[str], object],
    ) -> None:
        super().__init__(held, finder, keep, shows=shows)
        self._kept = held
        self._slow = round(slow * SECOND)
        self._tell = tell
        self._told: set[int] = set()
        self._due_at = 0.0
        held.keep_slow(self._slow)

    def look(self) -> float:
        """See Looker."""
        began = time.thread_time()
        flights = self._all()
        self.finish()  # after that, or one that was told of and ends in between would be forgotten
        late = [one for one in flights if one.age >= self._slow and one.ticket not in self._told]
        # before the look, during which one may end, and `finish` be called on another thread
        self._told = {one.ticket for one in flights if one.age >= self._slow}
        sights = self._see_due(flights, late)
        for one in late:
            stack = _stack(sights.get(one.ticket))
            self._tell("\n".join([f"slow request {_heading(_line(one), one)}", *stack]))
        soon = _ahead(flights, self._slow)
        if soon is None:
            soon = self._slow / SECOND
        return min(max(soon, SHARE * (time.thread_time() - began)), _next_look(flights) or soon)

    def finish(self) -> None:
        """Tell of those that have ended since the last look and were not looked at in time."""
        count, ended = self._kept.fetch_over()
        for one in (Flight(*one) for one in ended):
            if one.ticket not in self._told:
                self._told.add(one.ticket)
                seconds = one.age / SECOND
                self._tell(f"slow request {_line(one)} took {seconds:.1f} s; it was not looked at")
        if count > len(ended):
            self._tell(f"{count - len(ended)} more slow requests, too many at once to be told of")

    def _all(self) -> list[Flight]:
        """Return all requests that are in flight, the oldest first."""
        flights = self._flights()
        if len(flights) < self._kept.in_flight():
            known = {one.ticket for one in flights}
            flights += [one for one in self._finder.others() if one.ticket not in known]
        return flights

    def _see_due(self, flights: list[Flight], late: list[Flight]) -> dict[int, Sight]:
        """Look at the late ones and at all that are old, if there is a late one or a second is
        over. Each look keeps the stacks of all that it has seen in place of the last ones."""
        now = time.monotonic()
        old = [one for one in flights if one.age >= AGE and one not in late]
        if old and not late and now < self._due_at:
            return {}
        self._due_at = now + EACH
        return self._see(late + old)


def _next_look(flights: Sequence[Flight]) -> float | None:
    """Return in how many seconds the next of these is to be looked at; None if none is."""
    seconds = _ahead(flights, AGE)
    return None if seconds is None else max(seconds, LEAST)


def _ahead(flights: Sequence[Flight], age: int) -> float | None:
    """Return in how many seconds the next of these will be of this age; None if none will."""
    younger = [age - one.age for one in flights if one.age < age]
    return min(younger) / SECOND if younger else None


def _line(flight: Flight) -> str:
    """Return a request's line. A path is a stranger's: it stands there in ASCII."""
    return ascii(f"{flight.method} {flight.path}")


def _heading(name: str, flight: Flight) -> str:
    return f"{name}, {flight.age / SECOND:.1f} s after its begin:"


def _stack(sight: Sight | None) -> Iterable[str]:
    if sight is None or not sight.lines:
        return ["  (its stack is not known)"]
    note = [f" {sight.note}"] if sight.note else []
    return frames.show(frames.within_request(sight.lines)) + note


def _report(flights: Sequence[Flight], sights: dict[int, Sight], shows: bool) -> str:
    """Return the stacks of these requests, one after the other, as many as there is room for."""
    lines: list[str] = []
    size = shown = 0
    for one in flights[:MOST]:
        name = _line(one) if shows else "a request"
        found = [_heading(name, one), *_stack(sights.get(one.ticket))]
        size += sum(map(len, found))
        if size > MOST_TEXT and shown:
            break
        lines += found
        shown += 1
    if shown < len(flights):
        lines.append(f"and {len(flights) - shown} more")
    return "\n".join(lines)
