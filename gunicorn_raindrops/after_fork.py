"""Whether memory that is made now will be one process's of several, as far as it can be known.

Memory that is made before a server forks is shared by its processes. Where a server makes its
processes first, each has memory of its own. gunicorn, uvicorn and hypercorn know how many processes
they have: a variable of a function of theirs has it, which is on the stack then. uWSGI brings a
module that tells. Nothing of these servers is imported here. Of a server with one process there is
nothing to say.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

ALONE = "without a file it counts the requests of its own process alone"


def _of_gunicorn(local: dict[str, Any]) -> tuple[str, int]:
    return "gunicorn", local["self"].cfg.workers


def _of_uvicorn(local: dict[str, Any]) -> tuple[str, int]:
    config = local["config"]
    return "uvicorn", 1 if config.should_reload else config.workers


def _of_hypercorn(local: dict[str, Any]) -> tuple[str, int]:
    return "hypercorn", local["config"].workers


_FUNCTIONS: dict[tuple[str, str], Callable[[dict[str, Any]], tuple[str, int]]] = {
    ("gunicorn.workers.base", "init_process"): _of_gunicorn,
    ("gunicorn.workers.base_async", "handle"): _of_gunicorn,  # a greenlet
    ("gunicorn.workers.gthread", "handle"): _of_gunicorn,  # a thread
    ("uvicorn._subprocess", "subprocess_started"): _of_uvicorn,
    ("hypercorn.asyncio.run", "asyncio_worker"): _of_hypercorn,
    ("hypercorn.asyncio.run", "uvloop_worker"): _of_hypercorn,
    ("hypercorn.trio.run", "trio_worker"): _of_hypercorn,
}
"""By module and name, functions that run in each worker: what tells from their variables the name
of the server, and how many processes it has."""
_WITHOUT_WORKERS = ("uvicorn.main", "run")
"""uvicorn's command; the application is in its own process if there are no workers."""


def why_alone() -> str | None:
    """Return what is to be said of memory that this process does not share with the others of its
    server; None if it does, or if nothing is known."""
    functions = dict(_stack())
    server = _of_stack(functions) or _uwsgi()
    if server is not None:
        name, processes = server
        return f"made in a worker of {name}, after the fork: {ALONE}" if processes > 1 else None
    if multiprocessing.parent_process() is not None:
        return f"this process was spawned: {ALONE}"
    if _loop_runs() and _WITHOUT_WORKERS not in functions:
        return f"made while an event loop runs, so after any fork: {ALONE}"
    return None


def _stack() -> Iterator[tuple[tuple[str, str], FrameType]]:
    """Yield the functions of this thread's stack, by module and name."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield (frame.f_globals.get("__name__", ""), frame.f_code.co_name), frame
        frame = frame.f_back


def _of_stack(functions: dict[tuple[str, str], FrameType]) -> tuple[str, int] | None:
    """Return the name of the server whose worker this is, and how many processes it has."""
    for key, frame in functions.items():
        with contextlib.suppress(AttributeError, KeyError):  # another version may have it elsewhere
            if key in _FUNCTIONS:
                return _FUNCTIONS[key](frame.f_locals)
    return None


def _uwsgi() -> tuple[str, int] | None:
    """Return the same of uWSGI, in one of its workers; None in its master, which loads what all of
    them share unless `lazy-apps` is set."""
    module = sys.modules.get("uwsgi")
    with contextlib.suppress(AttributeError, TypeError):  # it may be the application's own uwsgi.py
        return ("uWSGI", module.numproc) if module.worker_id() else None  # type: ignore[union-attr]
    return None


def _loop_runs() -> bool:
    """Tell whether an event loop runs in this thread: no server forks after that. Starlette makes
    what add_middleware was given there, at the first request."""
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None
