"""Gunicorn's config for worker_classes.py: a worker that has its ASGI application three times.

`/ours` is counted, `/bare` and `/same` are not. Each has code of its own, since the interpreter
keeps what it has learnt of a call in the code that calls.
"""

import copy
from types import FunctionType
from typing import Any

from gunicorn_raindrops import conf
from gunicorn_raindrops.conf import *  # noqa: F403


def post_worker_init(worker: Any) -> None:
    """Let our own hook wrap one of the three."""
    if hasattr(worker, "config"):  # uvicorn's, which loads the application later
        _switch(worker, worker.config, "loaded_app", worker.config.load)
    else:
        _switch(worker, worker, "asgi", None)


def _switch(worker: Any, where: Any, name: str, load: Any) -> None:
    sides = {}

    def part() -> None:
        if load is not None:
            load()
        bare = getattr(where, name)
        sides.update({path: _another(bare) for path in ("/", "/bare", "/same")})
        setattr(where, name, _another(bare))

    def join() -> None:
        if load is not None:
            loads()
        sides["/ours"] = getattr(where, name)
        setattr(where, name, switched)

    def switched(scope: Any, receive: Any, send: Any) -> Any:
        return sides[scope.get("path", "/ours")](scope, receive, send)

    if load is None:
        part()
        conf.post_worker_init(worker)
        join()
    else:
        where.load = part
        conf.post_worker_init(worker)
        loads, where.load = where.load, join


def _another(app: Any) -> Any:
    if not isinstance(app, FunctionType):  # what uvicorn has put around it
        app = copy.copy(app)
        app.app = _another(app.app)
        return app
    return FunctionType(app.__code__.replace(), app.__globals__, app.__name__)
