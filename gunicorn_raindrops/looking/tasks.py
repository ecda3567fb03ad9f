"""Where requests stand that interleave on an asyncio loop, seen from another thread.

A request is found by a frame of ours in the coroutines that a task waits for, from the outermost on
(see `counting/asgi.py`). These lead to the innermost frame, in which the request waits.

What runs elsewhere is followed where it can be told whose it is, and nowhere else:

- in another task, as behind Starlette's BaseHTTPMiddleware: it is in a group that the request's
  task has opened (see `families`), or a frame of it has the request's scope, the same object;
- on a thread of a pool: see `pools`.

While a loop is blocked, its thread's own stack has the line that blocks it. A loop is blocked if it
does not run a callback within BLOCKED_SECONDS. So long this waits, if a task is running at all.

Other threads may go on now and then. Nothing of the application is held meanwhile but by weak
references: whoever drops the last one to a task destroys what it had.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import FrameType
from typing import Any, NamedTuple

from .. import unpatched
from ..counting import asgi
from ..counting.request import ENDED
from . import chains, families, frames, pools, threads
from .flight import Flight, Interrupted, Sight
from .frames import Line

BLOCKS = " (blocks the event loop)"
BLOCKED = " (event loop blocked)"
BLOCKED_SECONDS = 0.02
AT_ONCE_SECONDS = 0.0005
"""For how long tasks are looked at before other threads may go on."""
PAUSE_SECONDS = 0.0002
DEPTH = 40
"""Steps from a task's coroutine within which ours is."""


class Known(NamedTuple):
    """A request, as a frame tells it. `scope` is the id of ASGI's, None where there is none: an
    object's name while the request lasts, which keeps nothing alive."""

    ticket: int
    method: str
    path: str
    scope: int | None = None


Whose = Callable[[FrameType], Known | None]
"""Returns the request that a frame counts; None of any other frame."""


def of_exchange(frame: FrameType) -> Known | None:
    """Return the request that a frame of ours counts."""
    if frame.f_code.co_filename != _COUNTING:
        return None
    found = frame.f_locals.get("exchange")
    if not isinstance(found, asgi.Exchange) or found.phase == ENDED:
        return None
    scope = found.scope
    return Known(found.ticket, str(scope.get("method")), str(scope.get("path")), id(scope))


_COUNTING = asgi.call.__code__.co_filename


class Part(NamedTuple):
    """A task that runs a request, or a part of it."""

    ticket: int
    task: weakref.ref[Any]


class Blocker(NamedTuple):
    """What blocks a loop: the id of its task, the request that this begins, if it is one's, and the
    lines of the loop's thread."""

    task: int
    known: Known | None
    lines: list[Line]


class Chain(NamedTuple):
    """Where a task stands: its lines, the innermost last, and whether it waits for another task of
    the same request."""

    lines: list[Line]
    waits: bool


def _rank(chain: Chain) -> tuple[bool, bool, int]:
    """Of several tasks of one request, the one that tells most comes last. Of equal ones the last
    is taken: the first is the request's own, which waits for the others."""
    inner = frames.within_request(chain.lines)
    return any(frames.is_own(line[0]) for line in inner), not chain.waits, len(inner)


class OfTasks:
    """Requests on a loop.

    To be made on the loop's thread.

    Args:
        loop: returns it; None if it is not there yet.
        whose: tells whose request a frame counts.
    """

    def __init__(self, loop: Callable[[], Any], whose: Whose = of_exchange) -> None:
        self._loop = loop
        self._whose = whose
        self._thread = unpatched.original("_thread", "get_ident")()
        self._sleep = unpatched.original("time", "sleep")

    def find(self, flights: Sequence[Flight], interrupted: Interrupted) -> dict[int, Sight]:
        """See Finder."""
        loop = self._loop()
        if loop is None:
            return {}
        wanted = {one.ticket for one in flights}
        blocked = self._is_blocked(loop)
        blocker = self._blocker(loop, interrupted) if blocked else None
        parts = self._parts(loop, wanted, blocker)
        found: dict[int, list[Chain]] = {}
        for part in parts.values():
            found.setdefault(part.ticket, []).append(_chain(part.task(), interrupted))
        note = BLOCKED if blocked else ""
        sights = {one: Sight(max(reversed(found[one]), key=_rank).lines, note) for one in found}
        if blocker is not None and blocker.task in parts:
            sights[parts[blocker.task].ticket] = Sight(blocker.lines, BLOCKS)
        return sights

    def others(self) -> list[Flight]:
        """See Finder."""
        loop = self._loop()
        if loop is None:
            return []
        known = (self._known(task) for task in self._tasks(loop))
        return [Flight.of_ticket(one.ticket, one.method, one.path) for one in known if one]

    def _is_blocked(self, loop: Any) -> bool:
        if asyncio.current_task(loop) is None:
            return False
        answers: list[bool] = []
        try:
            loop.call_soon_threadsafe(answers.append, True)
        except RuntimeError:  # it is closed
            return False
        self._sleep(BLOCKED_SECONDS)
        return not answers

    def _blocker(self, loop: Any, interrupted: Interrupted) -> Blocker | None:
        """Return what blocks the loop; None if it has just gone on."""
        running = asyncio.current_task(loop)
        innermost = threads.current(interrupted).get(self._thread)
        stack = islice(frames.outwards(innermost), frames.MOST_FRAMES)
        known = next(filter(None, map(self._whose, stack)), None)
        lines = frames.stack_of(innermost)
        if running is None or asyncio.current_task(loop) is not running:
            return None
        return Blocker(id(running), known, lines)

    def _tasks(self, loop: Any) -> Iterator[Any]:
        """Yield the loop's tasks."""
        return self._those([weakref.ref(task) for task in asyncio.all_tasks(loop)])

    def _those(self, refs: Iterable[weakref.ref[Any]]) -> Iterator[Any]:
        """Yield these tasks, as far as they are still there."""
        until = 0.0
        for ref in refs:
            if time.perf_counter() > until:
                self._sleep(PAUSE_SECONDS)
                until = time.perf_counter() + AT_ONCE_SECONDS
            task = ref()
            if task is not None:
                yield task
            del task

    def _known(self, task: Any) -> Known | None:
        """Return the request that a task has been made for."""
        for frame, _ in islice(chains.walk(task.get_coro()), DEPTH):
            known = None if frame is None else self._whose(frame)
            if known is not None:
                return known
        return None

    def _parts(self, loop: Any, wanted: set[int], blocker: Blocker | None) -> dict[int, Part]:
        """Return the tasks of these requests, by id."""
        parts: dict[int, Part] = {}
        scopes: dict[int, int] = {}
        others: dict[int, weakref.ref[Any]] = {}
        for task in self._tasks(loop):
            known = self._known(task)
            if known is None and blocker is not None and id(task) == blocker.task:
                known = blocker.known
            if known is None:
                others[id(task)] = weakref.ref(task)
            elif known.ticket in wanted:
                parts[id(task)] = Part(known.ticket, weakref.ref(task))
                if known.scope is not None:
                    scopes[known.scope] = known.ticket
        return parts | self._others(others, parts, scopes) if parts else {}

    def _others(
        self,
        others: Mapping[int, weakref.ref[Any]],
        parts: Mapping[int, Part],
        scopes: Mapping[int, int],
    ) -> dict[int, Part]:
        """Return those tasks of others which are of the requests with these parts and scopes."""
        tickets = {key: part.ticket for key, part in parts.items()}
        parents: dict[int, int] = {}
        for task in self._those(others.values()):
            parent, ticket = families.parent_of(task), _by_scope(task, scopes)
            if parent is not None:
                parents[id(task)] = parent
            if ticket is not None:
                tickets[id(task)] = ticket
        found = {key: families.ticket_of(key, parents, tickets) for key in others}
        return {key: Part(one, others[key]) for key, one in found.items() if one is not None}


def _by_scope(task: Any, scopes: Mapping[int, int]) -> int | None:
    """Return the ticket of the request whose scope a task has, given their tickets by id."""
    for frame, awaitable in chains.walk(task.get_coro()):
        if frame is None or "scope" not in frame.f_code.co_varnames:
            continue
        for held in chains.variables(frame, awaitable):
            if id(held) in scopes:
                return scopes[id(held)]
    return None


def _chain(task: Any, interrupted: Interrupted) -> Chain:
    """Return where a task stands."""
    steps = list(chains.walk(task and task.get_coro()))
    found = [frame for frame, _ in steps if frame is not None]
    lines = [frames.line_of(frame) for frame in found]
    if found:
        _, awaited = steps[-1]
        thread = pools.thread_of(found[-1], awaited, threads.current(interrupted))
        lines += frames.stack_of(thread)
    return Chain(lines, any(map(_waits, lines)))


def _waits(line: Line) -> bool:
    """Tell whether it is where BaseHTTPMiddleware waits for the task with the rest of the
    application, or StreamingResponse for the client to go as another task sends the body, or a
    group for its tasks."""
    file, _, function = line
    return ("starlette" in file and function in ("call_next", "listen_for_disconnect")) or (
        "anyio" in file and function == "__aexit__"
    )
