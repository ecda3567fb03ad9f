"""Gunicorn's worker classes, and in which way the requests of each are counted.

Nothing here imports Gunicorn or a server: classes are known by their names, since most of their
modules are not there. A subclass is counted as its base. A class that is not known is not touched
at all: what its application is, and who calls it, is anybody's guess.
"""

from __future__ import annotations

from .threads import Sync, Threads, Way

THREADED: dict[str, type[Way]] = {
    "gunicorn.workers.sync.SyncWorker": Sync,
    "gunicorn.workers.gthread.ThreadWorker": Threads,
}
UNTHREADED = {
    "gunicorn.workers.base_async.AsyncWorker": "Greenlets",  # gevent, eventlet and their like
    "gunicorn.workers.gtornado.TornadoWorker": "Tornado",
    "gunicorn.workers.gasgi.ASGIWorker": "AroundASGI",
    "uvicorn.workers.UvicornWorker": "Uvicorn",
    "uvicorn_worker._workers.UvicornWorker": "Uvicorn",
}


def of(worker_class: type) -> type[Way] | None:
    """Return the way in which a class of workers is counted; None: it is not known."""
    for base in worker_class.__mro__:
        name = f"{base.__module__}.{base.__qualname__}"
        if name in THREADED:
            return THREADED[name]
        if name in UNTHREADED:
            return _unthreaded(UNTHREADED[name], worker_class)
    return None


def _unthreaded(name: str, worker_class: type) -> type[Way]:
    from . import greenlets as unthreaded

    if name == "Greenlets" and getattr(worker_class, "server_class", None) is not None:
        name = "AroundWSGI"  # gevent's server, or another, runs in gunicorn's place
    way: type[Way] = getattr(unthreaded, name)
    return way
