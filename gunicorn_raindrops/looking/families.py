"""Which task has made which, where that can be told: those of anyio's task groups.

They run parts of a request: the rest of the application behind Starlette's BaseHTTPMiddleware, the
body of its StreamingResponse. A group ends before the task goes on that has opened it, so what runs
in it is of the same request.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

MOST = 20
"""Groups within groups that are followed."""


def parent_of(task: Any) -> int | None:
    """Return the id of the task whose group a task is in; None if it is in none."""
    backend = sys.modules.get("anyio._backends._asyncio")
    if backend is None:
        return None
    try:
        state = backend._task_states.get(task)
        parent: int | None = None if state is None else state.parent_id
    except AttributeError:  # another anyio than those that are known
        return None
    return parent


def ticket_of(task: int, parents: Mapping[int, int], tickets: Mapping[int, int]) -> int | None:
    """Return the ticket of the request that a task is of; None if it is of none.

    Args:
        task: its id.
        parents: of each task that has one, by id.
        tickets: of the tasks whose request is known, by id.
    """
    for _ in range(MOST):
        if task in tickets:
            return tickets[task]
        if task not in parents:
            return None
        task = parents[task]
    return None
