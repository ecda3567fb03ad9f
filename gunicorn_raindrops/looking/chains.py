"""From a coroutine to what it waits for: coroutines, generators, and the objects between them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import AsyncGeneratorType, CellType, CoroutineType, FrameType, GeneratorType
from typing import Any

MOST = 200
"""Steps that are followed."""

_BETWEEN = {"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "FutureIter"}
"""Types of the interpreter's that wait for one other object, and do not say which. What they refer
to can be asked for all the same."""


def walk(awaitable: Any) -> Iterator[tuple[FrameType | None, Any]]:
    """Yield what stands between a coroutine and what it waits for, the outermost first: each
    coroutine's or generator's frame, None of anything else, and the object itself."""
    for _ in range(MOST):
        if awaitable is None:
            return
        frame, following = _step(awaitable)
        yield frame, awaitable
        awaitable = following


def variables(frame: FrameType, owner: Any) -> Iterator[Any]:
    """Yield what the variables refer to of a coroutine or generator that waits, and more.

    Not from f_locals: before Python 3.13 these are a copy, which the frame keeps until its end, and
    with it all that is in it.
    """
    for one in gc.get_referents(frame if sys.version_info < (3, 11) else owner):
        yield one
        if isinstance(one, CellType):
            yield from gc.get_referents(one)


def _step(awaitable: Any) -> tuple[FrameType | None, Any]:
    if isinstance(awaitable, CoroutineType):
        return awaitable.cr_frame, awaitable.cr_await
    if isinstance(awaitable, GeneratorType):
        return awaitable.gi_frame, awaitable.gi_yieldfrom
    if isinstance(awaitable, AsyncGeneratorType):
        return awaitable.ag_frame, awaitable.ag_await
    if type(awaitable).__name__ in _BETWEEN:
        return None, next(filter(_is_step, gc.get_referents(awaitable)), None)
    return None, None


def _is_step(referent: Any) -> bool:
    """Tell whether it is what an object between waits for, not its type or a value to send."""
    return hasattr(type(referent), "__await__") or isinstance(
        referent, (CoroutineType, GeneratorType, AsyncGeneratorType)
    )
