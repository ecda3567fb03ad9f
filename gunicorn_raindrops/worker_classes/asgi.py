"""Worker classes on an asyncio loop: gunicorn's asgi, and uvicorn's workers.

Many requests run at once on one thread. The wrapper of the application sees the whole of each, and
the request hooks do nothing.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from .._native._objects import ERROR
from ..counting import asgi, attached, websocket
from ..counting.attached import AttachedSlot
from ..counting.queue_header import QueueHeader
from ..counting.request import ENDED
from ..looking.flight import Finder
from ..looking.tasks import OfTasks
from ..status import expose
from ..status.app import StatusApp
from .base import Strategy, before, in_place_of


class HeldHead(asgi.Exchange):
    """gunicorn's asgi from 25.2 on sends a response's head with its first byte. If the application
    fails between the two, it sends nothing; over HTTP/2 a 500, or the head alone where the
    application has returned."""

    __slots__ = ()

    def finish(self) -> None:
        """See Exchange."""
        if self._is_held() and not self._is_http2():
            self.hundreds = 0
        super().finish()

    def fail(self, error: BaseException) -> None:
        """See Exchange."""
        if self._is_held():
            answers = self._is_http2() and isinstance(error, Exception)
            self.hundreds = 5 if answers and not self.client_gone else 0
        super().fail(error)

    def _is_held(self) -> bool:
        return self.untouched and self.phase != ENDED

    def _is_http2(self) -> bool:
        return bool(self.scope.get("http_version") == "2")


class AnsweredAll(asgi.Exchange):
    """uvicorn answers with a 500 whatever an application raises: also a cancellation, an exit."""

    __slots__ = ()

    def fail(self, error: BaseException) -> None:
        """See Exchange."""
        if self.hundreds is None and not self.client_gone and self.phase != ENDED:
            self.end(5 | ERROR)
        else:
            super().fail(error)


class AroundASGI(Strategy):
    """gunicorn's asgi. Its hooks see no websocket, and with a post_request it would wait for what
    an application does after its response."""

    abort = "handle_abort_signal"

    @staticmethod
    def exchange() -> type[asgi.Exchange]:
        """Return how a request of this server's ends."""
        holds = sys.modules["gunicorn"].version_info >= (25, 2)
        return HeldHead if holds else asgi.Exchange

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """See Strategy."""
        before(worker, "handle_exit_signal", attached.finishing)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Strategy."""
        worker.asgi = in_place_of(worker.asgi, self.around(worker.asgi, app))

    def finder(self, worker: Any) -> Finder:
        """See Strategy."""
        return OfTasks(lambda: self.loop_of(worker))

    def loop_of(self, worker: Any) -> Any:
        """Return the loop that a worker runs; None where it is not there yet."""
        return worker.loop

    def around(self, application: asgi.App, app: StatusApp | None) -> asgi.App:
        """Wrap an ASGI application."""
        held, header = AttachedSlot(), self._header

        def others(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> Awaitable[None]:
            if scope["type"] == "websocket":
                return websocket.call(application, held, scope, receive, send)
            return application(scope, receive, send)

        counted = asgi.counting(application, held, others, self.exchange())
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

    def __init__(self, header: QueueHeader | None = None) -> None:
        super().__init__(header)
        self._loop: Any = None

    def loop_of(self, worker: Any) -> Any:
        """See AroundASGI. The server loads its application on the loop."""
        return self._loop

    @staticmethod
    def exchange() -> type[asgi.Exchange]:
        """See AroundASGI."""
        return AnsweredAll

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
            self._loop = asyncio.get_running_loop()
            config.loaded_app = self.around(config.loaded_app, app)

        config.load = load_and_wrap
