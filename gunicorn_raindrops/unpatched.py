"""What gevent and eventlet replace when they patch a process, as the interpreter has it.

Theirs belong to the hub: a thread of our own that used them would be a greenlet of the
application's, or wait for a hub that is busy. Whatever was patched, and when (a gunicorn.conf.py
may do it before it imports us), the originals can be had; eventlet imports a module anew for that,
so they are to be fetched where the application's own code may run, not in our thread.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def original(module: str, name: str) -> Any:
    """Return an attribute of a module of the standard library's, unpatched."""
    if _gevent_patches():
        return sys.modules["gevent.monkey"].get_original(module, name)
    if _eventlet_patches():
        return getattr(sys.modules["eventlet.patcher"].original(module), name)
    return getattr(importlib.import_module(module), name)


def is_patched() -> bool:
    """Tell whether something has patched this process's locks, threads or waiting."""
    return _gevent_patches() or _eventlet_patches()


def _gevent_patches() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and any(
        map(monkey.is_module_patched, ("threading", "select", "time"))
    )


def _eventlet_patches() -> bool:
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and any(
        patcher.is_monkey_patched(name) for name in ("thread", "select", "time")
    )
