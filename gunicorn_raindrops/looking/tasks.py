"""Where requests stand that interleave on an asyncio loop, seen from another thread.

A request is found by a frame of ours in the coroutines that a task waits for, from the outermost on
(see `counting/asgi.py`). These lead to the innermost frame, in which the request waits.

What runs elsewhere is followed where it can be told whose it is, and nowhere else:

- in another task, as behind Starlette's BaseHTTPMiddleware: one of its frames has the request's
  scope, the same object;
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
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from types import FrameType
from typing import Any, NamedTuple

from .. import unpatched
from ..counting import asgi
from ..counting.request import ENDED
from . import chains, frames, pools, threads
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
    """A request, as a frame tells it. `scope` is ASGI's, None where there is none."""

    ticket: int
    method: str
    path: str
    scope: Any = None


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
    return Known(found.ticket, str(scope.get("method")), str(scope.get("path")), scope)


_COUNTING = asgi.call.__code__.co_filename


class Chain(NamedTuple):
    """Where a task stands: its lines, the innermost last, and whether it waits for another task of
    the same request."""

    lines: list[Line]
    waits: bool


def _rank(chain: Chain) -> tuple[bool, bool, int]:
    """Of several tasks of one request, the one that tells most comes last."""
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
        note = BLOCKED if blocked else ""
        found = {
            ticket: Sight(max(of_one, key=_rank).lines, note)
            for ticket, of_one in self._chains(loop, wanted, interrupted).items()
        }
        if blocked:
            found.update(self._blocking(wanted, interrupted))
        return found

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

    def _blocking(self, wanted: set[int], interrupted: Interrupted) -> dict[int, Sight]:
        """Return the request that the loop's thread is in, if it is one."""
        innermost = threads.current(interrupted).get(self._thread)
        for frame in islice(frames.outwards(innermost), frames.MOST_FRAMES):
            known = self._whose(frame)
            if known is not None and known.ticket in wanted:
                return {known.ticket: Sight(frames.stack_of(innermost), BLOCKS)}
        return {}

    def _tasks(self, loop: Any) -> Iterator[Any]:
        """Yield the loop's tasks."""
        found = [weakref.ref(task) for task in asyncio.all_tasks(loop)]
        until = 0.0
        for ref in found:
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

    def _chains(
        self, loop: Any, wanted: set[int], interrupted: Interrupted
    ) -> dict[int, list[Chain]]:
        """Return the tasks of these requests, by ticket."""
        found: dict[int, list[Chain]] = {}
        requests: list[Known] = []
        others = []
        for task in self._tasks(loop):
            known = self._known(task)
            if known is None:
                others.append(weakref.ref(task))
            elif known.ticket in wanted:
                requests.append(known)
                found[known.ticket] = [_chain(task, interrupted)]
        for ref in others:
            ticket = _by_scope(ref(), requests)
            if ticket is not None:
                found[ticket].append(_chain(ref(), interrupted))
        return found


def _by_scope(task: Any, requests: list[Known]) -> int | None:
    """Return the ticket of the request whose scope a task has."""
    if task is None:
        return None
    for frame, _ in chains.walk(task.get_coro()):
        if frame is None or "scope" not in frame.f_code.co_varnames:
            continue
        scope = frame.f_locals.get("scope")
        for known in requests:
            if scope is not None and known.scope is scope:
                return known.ticket
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
    application."""
    file, _, function = line
    return function == "call_next" and "starlette" in file
