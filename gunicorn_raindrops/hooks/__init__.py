"""The Gunicorn server hooks, and `install`: the only folder that imports gunicorn.

In a gunicorn.conf.py without hooks of its own:

    from gunicorn_raindrops.hooks import *

In one that has some, as its last line:

    gunicorn_raindrops.hooks.install(globals(), bind="127.0.0.1:9180")

Theory of operation. In the arbiter, `on_starting` makes the scoreboard, `when_ready` opens the
status address, and `pre_fork` claims a slot for the worker to come. In the worker, `post_fork`
takes the slot over, and `post_worker_init` wraps the application and starts the status thread.
Then a request: `pre_request` begins it, the wrapper moves it from calling to writing when the
application's callable has returned, and `post_request` ends it. What each of the three does is
said by the worker's strategy (see `worker_classes`). When the worker ends, `worker_exit` counts
why. In the arbiter again, `child_exit` frees the slot.

All that a process holds is in `state.process`: in the arbiter its `ArbiterSide`; in a worker, from
`post_fork` on, its `WorkerSide` and its strategy.

A conf that builds on another one may call a hook twice; the second call changes nothing. `arbiter`
says where else a hook may run that is not meant to, `state` what becomes of its failures.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from gunicorn.config import validate_callable, validate_post_request

from .. import wrapping
from ..settings import load
from .arbiter import (
    child_exit,
    nworkers_changed,
    on_exit,
    on_reload,
    on_starting,
    pre_exec,
    pre_fork,
    when_ready,
)
from .cfg import is_only_checked
from .state import keywords, process
from .worker import post_fork, post_request, post_worker_init, pre_request, worker_exit

# What `import *` brings into a gunicorn.conf.py: there, any other name that is also one of
# gunicorn's settings would set it.
__all__ = [
    "child_exit",
    "nworkers_changed",
    "on_exit",
    "on_reload",
    "on_starting",
    "post_fork",
    "post_request",
    "post_worker_init",
    "pre_exec",
    "pre_fork",
    "pre_request",
    "when_ready",
    "worker_exit",
]

_given_for: list[Any] = [None]
"""The globals that `install` was given last."""


def install(namespace: MutableMapping[str, Any], **settings: Any) -> None:
    """Put the hooks into a gunicorn.conf.py, around those that it has.

        install(globals(), bind="127.0.0.1:9180", listeners=["/run/nginx.sock"])

    Must be called after the conf's own hooks are defined, as its last line. A second call changes
    nothing; where one conf builds on another, hooks that are ours already are not wrapped again,
    and the keywords of the last one hold. A request that ours began is ended, whatever a user's
    hook raises. A wrong setting stops gunicorn when it starts, with a line that names it.

    Args:
        namespace: the conf's globals().
        settings: keywords, see docs/settings.md. Each wins over its RAINDROPS_* variable.
    """
    if namespace is not _given_for[0]:
        _take(namespace, settings)
    _put_into(namespace)


def include(namespace: MutableMapping[str, Any], read: Callable[[], Mapping[str, Any]]) -> None:
    """Put another conf's settings and hooks into one, and ours around them. The keywords hold that
    the other one has called `install` with.

    Args:
        namespace: the conf's globals().
        read: executes the other one and returns its globals.
    """
    _take(None, {})
    namespace.update(read())
    _put_into(namespace)


def _take(namespace: Any, given: dict[str, Any]) -> None:
    _given_for[0] = namespace
    keywords.clear()
    keywords.update(given)


def _put_into(namespace: MutableMapping[str, Any]) -> None:
    if is_only_checked(namespace):
        _check_settings()
    for name in __all__:
        ours = globals()[name]
        theirs = namespace.get(name, ours)
        with contextlib.suppress(TypeError):  # gunicorn refuses it, and says so
            namespace[name] = wrapping.around(name, ours, _checked(name, theirs), process)


def _check_settings() -> None:
    """End this process where a setting is wrong, in the way and with the words that `on_starting`
    has gunicorn do it. Counters are not tried: the application's folder may not be known yet."""
    try:
        load(keywords, os.environ)
    except ValueError as error:
        print(f"\nError: gunicorn-raindrops: {error}\n", file=sys.stderr)
        sys.exit(1)


def _checked(name: str, hook: Any) -> Any:
    """Return a hook as gunicorn will call it.

    Raises:
        TypeError: gunicorn refuses it.
    """
    if name == "post_request":
        return validate_post_request(hook)
    return validate_callable(wrapping.ARITIES[name])(hook)


for _hook in __all__:
    wrapping.mark(globals()[_hook])
