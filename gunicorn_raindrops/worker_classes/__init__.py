"""Gunicorn's worker classes: which class is counted how.

Nothing here imports Gunicorn or another server. A class is known by its name, since most of their
modules are not there, and a subclass is counted as its base. An unknown class is not touched at
all: only its author knows what its application is and who calls it.

Worker classes with one request per thread must not pay for the others: the module of a strategy is
imported only when a worker of its class is used.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .base import Strategy

_STRATEGIES = {
    "gunicorn.workers.sync.SyncWorker": ("threads", "Sync"),
    "gunicorn.workers.gthread.ThreadWorker": ("threads", "Threads"),
    "gunicorn.workers.base_async.AsyncWorker": ("greenlets", "Greenlets"),  # gevent, eventlet
    "gunicorn.workers.gtornado.TornadoWorker": ("tornado", "Tornado"),
    "gunicorn.workers.gasgi.ASGIWorker": ("asgi", "AroundASGI"),
    "uvicorn.workers.UvicornWorker": ("asgi", "Uvicorn"),
    "uvicorn_worker._workers.UvicornWorker": ("asgi", "Uvicorn"),
}
"""By a worker class's full name: the module in this folder, and its class."""


def strategy_for(worker_class: type) -> type[Strategy] | None:
    """Return how a class of workers is counted; None if it is not known."""
    for base in worker_class.__mro__:
        found = _STRATEGIES.get(f"{base.__module__}.{base.__qualname__}")
        if found is not None:
            module, name = found
            if name == "Greenlets" and _runs_a_server(worker_class):
                known = _is_gevents(worker_class)
                module, name = ("pywsgi", "PyWSGI") if known else (module, "AroundWSGI")
            strategy: type[Strategy] = getattr(
                importlib.import_module(f".{module}", __name__), name
            )
            return strategy
    return None


def _runs_a_server(worker_class: type) -> bool:
    """Tell whether gevent's own server, or another, serves in gunicorn's place. Only gevent's
    worker classes have this attribute."""
    return getattr(worker_class, "server_class", None) is not None


def _is_gevents(worker_class: Any) -> bool:
    """Tell whether that server is gevent's, with its handler."""
    pywsgi = sys.modules.get("gevent.pywsgi")
    server, handler = worker_class.server_class, worker_class.wsgi_handler
    return (
        pywsgi is not None
        and isinstance(handler, type)
        and issubclass(handler, pywsgi.WSGIHandler)
        and issubclass(server, pywsgi.WSGIServer)
    )
