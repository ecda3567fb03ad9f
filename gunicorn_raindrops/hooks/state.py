"""What the hooks keep in one process, arbiter or worker, and the boundary that they run behind.

gunicorn catches nothing that a hook raises: an exception in `pre_fork` or `child_exit` would end
the arbiter, one in `pre_request` the request. So each hook that does more than count runs under
`guard`, the one boundary where a failure becomes one logged warning.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from ..arbiter_side import ArbiterSide
from ..worker_classes.base import Strategy
from ..worker_classes.threads import Sync
from ..worker_side import WorkerSide

Hook = TypeVar("Hook", bound=Callable[..., Any])

keywords: dict[str, Any] = {}
"""The settings that `install` was given last; gunicorn runs a conf file again at each HUP."""


class Process:
    """What the hooks keep in one process, arbiter or worker; a fork copies it."""

    def __init__(self) -> None:
        self.arbiter: ArbiterSide | None = None
        """What the arbiter holds; None in a worker. See `arbiter.mine`."""
        self.server: Any = None
        """gunicorn's arbiter, once it has started."""
        self.worker: WorkerSide | None = None
        """What the worker holds; None in the arbiter."""
        self.strategy: Strategy = Sync()
        """How this worker's requests are counted."""
        self.is_wrapped = False
        """Whether this worker's application has been wrapped."""
        self.warned: set[str] = set()
        self.debugging = True
        self.aborted = False


process = Process()


def warn(log: Any, message: str) -> None:
    """Log a warning, once in this process."""
    if message not in process.warned:
        process.warned.add(message)
        log.warning("gunicorn-raindrops: %s", message)


def guard(hook: Hook) -> Hook:
    """Make a failure of ours one warning, whatever it is; its traceback goes to the debug log."""

    @functools.wraps(hook)
    def guarded(server: Any, *args: Any) -> None:
        try:
            hook(server, *args)
        except Exception as error:
            warn(server.log, f"{hook.__name__} failed: {type(error).__name__}: {error}")
            server.log.debug("%s", traceback.format_exc())

    return guarded  # type: ignore[return-value]
