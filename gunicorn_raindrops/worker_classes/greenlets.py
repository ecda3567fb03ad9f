"""How requests are counted where many of them share a thread.

Where a request stays on its greenlet (gevent, eventlet), the hooks carry it in a context variable,
of which each greenlet has its own. Everywhere else what stands around the application sees the
whole of a request, and the hooks do nothing: the loops of asyncio (asgi, uvicorn), and the servers
that call no hooks (gevent_pywsgi, tornado).
"""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from ..counting import asgi, attached, wsgi
from ..counting.attached import AttachedSlot
from ..counting.queue_header import QueueHeader
from ..counting.request import Request, begin_ticket, hundreds_of
from ..status import expose
from ..status.app import StatusApp
from . import tornado as tornado_requests
from .threads import Application, Way, before, begin, outcome


class Greenlets(Way):
    """gevent, eventlet: a request has a greenlet from pre_request to post_request.

    A greenlet's context is its own. One that the application starts has at most a copy, and calls
    no hooks.
    """

    hooks = True

    def __init__(self, header: QueueHeader | None = None) -> None:
        super().__init__(header)
        self._seat = AttachedSlot()
        self._request: ContextVar[Request | None] = ContextVar("raindrops", default=None)

    def begin(self, req: Any) -> None:
        """See Way."""
        self._cancel()
        ticket = begin(begin_ticket, self._header, req)
        self._request.set(Request(self._seat, ticket))

    def end(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """See Way."""
        if not worker.alive:
            attached.finishing()
        request = self._request.get()
        if request is None:
            return
        self._request.set(None)
        if isinstance(error, StopIteration):
            # So these workers leave the loop over a connection's requests; one that ends a
            # response which broke off has what broke it behind it.
            error = error.__context__
        if resp is None:
            request.cancel()
        elif error is None and resp.status is None:
            request.end(0)  # the application took the connection over (ALREADY_HANDLED)
        else:
            status, failed = outcome(resp, error)
            request.end(hundreds_of(status), failed)

    def _cancel(self) -> None:
        request = self._request.get()
        if request is not None:
            self._request.set(None)
            request.cancel()

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        worker.wsgi = expose.wsgi(self._responding(worker.wsgi), app, self._cancel)

    def _responding(self, application: Application) -> Application:
        current = self._request

        def counted(environ: Any, start_response: Any) -> Any:
            iterable = application(environ, start_response)
            request = current.get()
            if request is not None:
                request.respond()
            return iterable

        return counted


class AroundWSGI(Way):
    """gevent_pywsgi, and other servers that run in a gevent worker: they call no hooks."""

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        worker.wsgi = self.around(worker.wsgi, app)

    def around(self, application: Application, app: StatusApp | None) -> Application:
        """Wrap a WSGI application."""
        seat, header = AttachedSlot(), self._header

        def counted(environ: Any, start_response: Any) -> Any:
            ticket = seat.begin(*wsgi.line_of(environ))
            if header is not None:
                header.record_environ(expose.as_it_came(environ))
            return wsgi.call(application, seat, ticket, environ, start_response)

        return expose.wsgi(counted, app)


class Tornado(AroundWSGI):
    """tornado: it calls no hooks. A WSGI application runs on its loop, a request at a time, unless
    it comes in a container with an executor; an application of tornado's own has no such limit,
    and no place to show the status."""

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        tornado = sys.modules["tornado.web"], sys.modules["tornado.wsgi"]
        capacity = 1
        if isinstance(worker.wsgi, tornado[0].Application):
            tornado_requests.count(worker.wsgi, AttachedSlot(), self._header)
            capacity = super().capacity(worker)
        elif isinstance(worker.wsgi, tornado[1].WSGIContainer):
            container = worker.wsgi
            container.wsgi_application = self.around(container.wsgi_application, app)
            capacity = getattr(getattr(container, "executor", None), "_max_workers", 1)
        else:
            super().wrap(worker, app)
        attached.set_capacity(capacity)


class AroundASGI(Way):
    """asgi: many requests at once on one thread; its hooks see no websocket, and with a
    post_request it would wait for what an application does after its response."""

    abort = "handle_abort_signal"

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """See Way."""
        before(worker, "handle_exit_signal", attached.finishing)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        worker.asgi = self.around(worker.asgi, app)

    def around(self, application: asgi.App, app: StatusApp | None) -> asgi.App:
        """Wrap an ASGI application."""
        seat, header = AttachedSlot(), self._header

        def others(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> Awaitable[None]:
            if scope["type"] == "websocket":
                return asgi.call_websocket(application, seat, scope, receive, send)
            return application(scope, receive, send)

        counted = asgi.counting(application, others)
        if header is None:
            return expose.asgi(counted, app)

        def recorded(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> Awaitable[None]:
            if scope["type"] == "http":
                header.record_scope(scope)
            return counted(scope, receive, send)

        return expose.asgi(recorded, app)


class Uvicorn(AroundASGI):
    """uvicorn's workers. Their config makes of the application what the server then calls: it
    finds out of what interface that is, and whether it is a factory; so ours goes around the
    result, where also the peer is still the one that connected."""

    abort = "handle_abort"

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Way. uvicorn has no limit of its own, unless a subclass gives it one: gunicorn's is
        what the user expects of a worker."""
        return int(worker.config.limit_concurrency or worker.cfg.worker_connections)

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """See Way. The server takes the signals over, by a method of its own, and counts the
        requests that are to be so many at most."""
        server = sys.modules["uvicorn.server"].Server
        before(server, "handle_exit", attached.finishing)
        shutdown = server.shutdown

        @functools.wraps(shutdown)
        def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
            worker.nr = self.server_state.total_requests
            return shutdown(self, *args, **kwargs)

        server.shutdown = counted

    @classmethod
    def watch_signals(cls, leave: Callable[[], None]) -> None:
        """See Way. From 0.29 on the server, once it has shut down, sends itself again what it was
        told to by, with the handlers that were there before it."""

        def handle(number: int, frame: Any) -> None:
            leave()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) == signal.SIG_DFL:  # else it is the application's
                signal.signal(number, handle)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        config = worker.config
        load = config.load

        def load_and_wrap() -> None:
            load()
            config.loaded_app = self.around(config.loaded_app, app)

        config.load = load_and_wrap
