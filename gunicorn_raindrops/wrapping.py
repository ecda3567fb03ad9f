"""Puts our hooks around those of a user's own gunicorn.conf.py.

Both run, whichever raises: a request that ours began is ended, whatever a user's hook does. A hook
that is ours already stays as it is, so a conf that builds on another one counts nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any, Protocol, TypeVar

from .worker_classes.base import Strategy, error_now

Hook = TypeVar("Hook", bound=Callable[..., Any])

_OF_SERVER = ("on_starting", "on_reload", "when_ready", "pre_exec", "on_exit", "post_worker_init")
_OF_WORKER = ("pre_fork", "post_fork", "pre_request", "child_exit", "worker_exit")
ARITIES = {
    **dict.fromkeys(_OF_SERVER, 1),
    **dict.fromkeys(_OF_WORKER, 2),
    "nworkers_changed": 3,
    "post_request": 4,
}
"""The hooks that we have, and how many arguments each takes."""

_MARK = "_gunicorn_raindrops"


class Process(Protocol):
    """What counts the requests of this process."""

    strategy: Strategy


def mark(hook: Hook) -> Hook:
    """Mark a hook as one of ours. The mark is the hook itself, since functools.wraps copies
    attributes to functions that are not ours."""
    setattr(hook, _MARK, hook)
    return hook


def is_ours(hook: Any) -> bool:
    """Tell whether a hook is marked."""
    return getattr(hook, _MARK, None) is hook


def is_from_ours(hook: Any) -> bool:
    """Tell whether a hook is one of ours, or wraps one by functools.wraps."""
    try:
        marked = getattr(hook, _MARK, None)
    except Exception:  # a proxy whose object is not there, as Flask's current_app
        return False
    return marked is not None and is_ours(marked)


def around(name: str, ours: Callable[..., Any], theirs: Any, process: Process) -> Any:
    """Return a hook that runs both, or the user's as it is where that is ours already."""
    if theirs is ours or is_ours(theirs):
        return theirs
    if name == "pre_request":
        return mark(_around_pre_request(theirs, process))
    if name == "post_request":
        return mark(_around_post_request(theirs, process))
    if name == "post_worker_init":  # our wrapper is the outermost
        return mark(_single(theirs, ours))
    return mark(_BOTH[ARITIES[name]](ours, theirs))


def _around_pre_request(theirs: Callable[..., Any], process: Process) -> Callable[..., Any]:
    def pre_request(worker: Any, req: Any) -> None:
        process.strategy.begin(req)
        theirs(worker, req)  # replaces gunicorn's log line, so ours is not written either

    return pre_request


def _around_post_request(theirs: Callable[..., Any], process: Process) -> Callable[..., Any]:
    def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
        error = error_now()
        try:
            theirs(worker, req, environ, resp)
        finally:
            process.strategy.end(worker, resp, error)

    return post_request


def _single(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    def both(server: Any) -> None:
        first(server)
        second(server)

    return both


def _pair(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    def both(server: Any, other: Any) -> None:
        first(server, other)
        second(server, other)

    return both


def _triple(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    def both(server: Any, other: Any, third: Any) -> None:
        first(server, other, third)
        second(server, other, third)

    return both


# gunicorn refuses a hook that does not name its arguments.
_BOTH = {1: _single, 2: _pair, 3: _triple}
_WRAPPERS = {make(len, len).__code__ for make in _BOTH.values()}


def is_around_hooks(code: CodeType) -> bool:
    """Tell whether code is that of a function which calls a hook of ours and one of the user's."""
    return code in _WRAPPERS
