"""The status's one boundary: what fails behind it becomes a warning, and goes no further.

It stands around each answer, on the status address and on the application's own listeners, around
each step of the status thread, and around each task that is due each second. All of them are tried
again: a failure, such as one of memory, may be over the next time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class Boundary:
    """Calls what may fail.

    Args:
        warn: called with a line for a failure.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn

    def run(self, failing: str, step: Callable[[], Result], otherwise: Result) -> Result:
        """Return what a step returns.

        Args:
            failing: the begin of the warning, if it raises.
            step: what may raise.
            otherwise: what to return then.
        """
        try:
            return step()
        except Exception as error:  # whatever it is, it is none of the application's
            try:  # noqa: SIM105  # suppress() would be two calls more that can fail
                self._warn(f"{failing}: {type(error).__name__}: {error}")
            except Exception:  # there may be no memory for that either
                pass
            return otherwise
