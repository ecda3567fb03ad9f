"""Which of our hooks gunicorn will not call, since another one stands in their place.

An agent may have put its own on gunicorn's Config class, where it hides the setting. Or the conf
defines a hook after it has imported ours or called `install`. A hook that calls ours is fine: one
is taken to do so that wraps ours, names it, or knows a function that does. Of a callable without
code nothing can be told.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from .. import wrapping

_OF_REQUESTS = {"pre_request", "post_request"}
_PACKAGE = __name__.partition(".")[0]
STEPS = 3
"""From a hook to a function that it knows, and on from there: decorators, methods."""


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


def _reaches(name: str, hook: Any, left: int = STEPS) -> bool:
    """Tell whether a hook is ours, names ours, or knows one that does, within so many steps."""
    while isinstance(hook, functools.partial):
        hook = hook.func
    code = getattr(hook, "__code__", None)
    if code is None:
        return left == STEPS
    if wrapping.is_from_ours(hook) or any(_names_ours(name, one) for one in _codes(code)):
        return True
    known = list(_known_to(hook))
    return any(map(wrapping.is_from_ours, known)) or (
        left > 0 and any(_reaches(name, other, left - 1) for other in known if _has_code(other))
    )


def _names_ours(name: str, code: CodeType) -> bool:
    """Tell whether code imports us, or takes a hook of this name out of something, as the
    settings."""
    return name in code.co_consts or _PACKAGE in code.co_names


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield code, and that of the functions inside it."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _has_code(known: Any) -> bool:
    # by its type: asked for its class, a proxy asks for what it stands for
    return issubclass(type(known), (FunctionType, MethodType, functools.partial))


def _known_to(function: Any) -> Iterator[Any]:
    """Yield what a function may call: what it finds by the global names in its code, also in
    modules; what it is closed over; its defaults; what its object has; and what is in lists and
    dictionaries of these."""
    for one in (*_named_by(function), *_kept_by(function)):
        if issubclass(type(one), dict):
            yield from one.values()
        elif issubclass(type(one), (list, tuple)):
            yield from one
        else:
            yield one


def _named_by(function: Any) -> Iterator[Any]:
    names = [name for code in _codes(function.__code__) for name in code.co_names]
    for one in map(function.__globals__.get, names):
        yield one
        if issubclass(type(one), ModuleType):
            yield from map(vars(one).get, names)


def _kept_by(function: Any) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it is empty
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from getattr(getattr(function, "__self__", None), "__dict__", {}).values()
