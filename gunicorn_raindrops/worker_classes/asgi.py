"""Worker classes on an asyncio loop: gunicorn's asgi, and uvicorn's workers.

Many requests run at once on one thread. The wrapper of the application sees the whole of each, and
the request hooks do nothing.
"""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from ..counting import asgi, attached
from ..counting.attached import AttachedSlot
from ..status import expose
from ..status.app import StatusApp
from .base import Strategy, before, in_place_of


class AroundASGI(Strategy):
    """gunicorn's asgi. Its hooks see no websocket, and with a post_request it would wait for what
    an application does after its response."""

    abort = "handle_abort_signal"

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """See Strategy."""
        before(worker, "handle_exit_signal", attached.finishing)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Strategy."""
        worker.asgi = in_place_of(worker.asgi, self.around(worker.asgi, app))

    def around(self, application: asgi.App, app: StatusApp | None) -> asgi.App:
        """Wrap an ASGI application."""
        held, header = AttachedSlot(), self._header

        def others(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> Awaitable[None]:
            if scope["type"] == "websocket":
                return asgi.call_websocket(application, held, scope, receive, send)
            return application(scope, receive, send)

        counted = asgi.counting(application, held, others)
        if header is None:
            return expose.asgi(counted, app)

        def recorded(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> Awaitable[None]:
            if scope["type"] == "http":
                header.record_scope(scope)
            return counted(scope, receive, send)

        return expose.asgi(recorded, app)


class Uvicorn(AroundASGI):
    """uvicorn's workers. Their config finds out whether the application is WSGI, ASGI or a factory,
    and makes of it what the server calls. Our wrapper goes around that result: there the peer is
    still the one that connected."""

    abort = "handle_abort"

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Strategy. uvicorn has no limit unless a subclass sets one. Without it gunicorn's
        `worker_connections` is what the user expects of a worker."""
        return int(worker.config.limit_concurrency or worker.cfg.worker_connections)

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """See Strategy. uvicorn's server handles the signals in a method of its own, and counts
        the requests towards max_requests itself."""
        server = sys.modules["uvicorn.server"].Server
        before(server, "handle_exit", attached.finishing)
        shutdown = server.shutdown

        @functools.wraps(shutdown)
        def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
            worker.nr, limit = self.server_state.total_requests, self.config.limit_max_requests
            if limit is not None:  # a subclass may set another one than gunicorn's
                worker.max_requests = limit
            return shutdown(self, *args, **kwargs)

        server.shutdown = counted

    @classmethod
    def watch_signals(cls, leave: Callable[[], None]) -> None:
        """See Strategy. From 0.29 on the server, once it has shut down, restores the handlers that
        were there before it and raises the signal again."""

        def handle(number: int, frame: Any) -> None:
            leave()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) == signal.SIG_DFL:  # else it is the application's
                signal.signal(number, handle)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Strategy."""
        config = worker.config
        load = config.load

        def load_and_wrap() -> None:
            load()
            config.loaded_app = self.around(config.loaded_app, app)

        config.load = load_and_wrap
