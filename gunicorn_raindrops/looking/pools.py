"""Which thread of a pool a coroutine waits for, where that can be told."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from types import FrameType, FunctionType
from typing import Any

from .frames import outwards

_ANYIO = "run_sync_in_worker_thread"
"""anyio's, in which a coroutine waits for a plain function: as starlette runs an endpoint without
`async`. Its frame has the thread, which runs nothing else until the future is done."""


def thread_of(frame: FrameType, awaited: Any, current: Mapping[int, FrameType]) -> FrameType | None:
    """Return the innermost frame of the thread that is waited for; None if it cannot be told.

    Args:
        frame: of the innermost coroutine.
        awaited: what that waits for.
        current: the innermost frame of each thread.
    """
    if frame.f_code.co_name == _ANYIO and "worker" in frame.f_code.co_varnames:
        found = frame.f_locals
        worker, future = found.get("worker"), found.get("future")
        if worker is None or future is None or future.done():
            return None
        return current.get(worker.ident)
    return _of_executor(awaited, current)


def _of_executor(awaited: Any, current: Mapping[int, FrameType]) -> FrameType | None:
    """Return it for the future of `run_in_executor`."""
    pool = sys.modules.get("concurrent.futures.thread")
    if pool is None or not hasattr(type(awaited), "__await__"):
        return None
    runs = pool._WorkItem.run.__code__
    for innermost in current.values():
        for frame in outwards(innermost):
            if frame.f_code is runs and _feeds(frame.f_locals["self"].future, awaited):
                return innermost
    return None


def _feeds(source: Any, destination: Any) -> bool:
    """Tell whether a pool's future, when it is done, sets asyncio's: that is in its callbacks'
    closures (asyncio.futures._chain_future)."""
    callbacks = [one for one in list(source._done_callbacks) if isinstance(one, FunctionType)]
    # of a closure's cell: what it holds
    cells = [cell for one in callbacks for cell in one.__closure__ or ()]
    return any(destination is held for cell in cells for held in gc.get_referents(cell))
