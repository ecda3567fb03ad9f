"""What workers share with the arbiter: modules that are imported before the fork, and pages that
stay shared after it.

A fork copies no page until somebody writes to it. Python writes to every object of a full garbage
collection, and so gives each worker a copy of each page with such an object: 6 MiB of a bare
gunicorn worker. `gc.freeze` takes the objects that are there out of the collections to come.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def apart(package: str) -> Iterator[None]:
    """Have what is imported in here use a copy of a package that nobody else sees.

    prometheus_client decides at its import how its metrics count, by PROMETHEUS_MULTIPROC_DIR. An
    application may set that variable when a worker loads it, so it must find the package not yet
    imported. A package that has been imported already is used as it is.
    """
    if package in sys.modules:
        yield
        return
    try:
        yield
    finally:
        for name in list(sys.modules):
            if name == package or name.startswith(package + "."):
                del sys.modules[name]


def freeze() -> None:
    """Keep all objects of this process out of its, and its children's, garbage collections.

    Called again, it first collects what has become garbage meanwhile. When the interpreter ends,
    its last collections find all objects again. Else finalizers would run after them, when the
    modules that they use are gone.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    atexit.unregister(gc.unfreeze)
    atexit.register(gc.unfreeze)
