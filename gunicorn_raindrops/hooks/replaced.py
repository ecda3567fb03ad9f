"""Which of our hooks gunicorn will not call, since another one stands in their place.

An agent may have put its own on gunicorn's Config class, where it hides the setting. Or the conf
defines a hook after it has imported ours or called `install`. A hook that calls ours is fine: one
is taken to do so that wraps ours, or names it. Of a callable without code nothing can be told.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from .. import wrapping

_OF_REQUESTS = {"pre_request", "post_request"}


def on_class(cfg: Any) -> list[str]:
    """Return the hooks that the Config class hides."""
    hidden = [name for name in wrapping.ARITIES if getattr(cfg, name) is not _set(cfg, name)]
    return [name for name in hidden if not is_called(cfg, name)]


def in_conf(cfg: Any, *, has_hooks: bool) -> list[str]:
    """Return those that the conf has others for; the requests' only where they do something."""
    names = [name for name in wrapping.ARITIES if has_hooks or name not in _OF_REQUESTS]
    return [name for name in names if not _reaches(name, _set(cfg, name))]


def is_called(cfg: Any, *names: str) -> bool:
    """Tell whether all of these hooks of ours are called, as far as can be told."""
    return all(_reaches(name, getattr(cfg, name)) for name in names)


def _set(cfg: Any, name: str) -> Any:
    return cfg.settings[name].get()


def _reaches(name: str, hook: Any) -> bool:
    while isinstance(hook, functools.partial):
        hook = hook.func
    code = getattr(hook, "__code__", None)
    if code is None or wrapping.is_from_ours(hook) or name in (*code.co_names, *code.co_consts):
        return True
    return any(map(wrapping.is_from_ours, _known_to(hook)))


def _known_to(function: Any) -> Iterator[Any]:
    """Yield what a function finds by the global names in its code, and what it is closed over."""
    for name in function.__code__.co_names:
        yield function.__globals__.get(name)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is empty
            continue
