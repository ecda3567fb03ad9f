"""Worker classes with one request per greenlet: gevent and eventlet.

gunicorn's own loop over a connection calls the hooks. They carry a request in a context variable,
of which each greenlet has its own. Servers that run in gunicorn's place call no hooks: there the
wrapper of the application sees the whole of a request.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ..counting import attached, wsgi
from ..counting.attached import AttachedSlot
from ..counting.outcome import class_of
from ..counting.queue_header import QueueHeader
from ..counting.request import Request, begin_ticket
from ..looking.calls import OfCall
from ..looking.flight import Finder
from ..looking.greenlets import OfGreenlets, Running
from ..status import expose
from ..status.app import StatusApp
from .base import Application, HookedStrategy, Strategy, in_place_of
from .ending import handles_all, outcome, own_error


class Greenlets(HookedStrategy):
    """gevent, eventlet: a request has a greenlet from pre_request to post_request.

    A greenlet's context is its own. One that the application starts has at most a copy of it, and
    calls no hooks.
    """

    _begin = staticmethod(begin_ticket)

    def __init__(self, header: QueueHeader | None = None) -> None:
        super().__init__(header)
        self._held = AttachedSlot()
        self._request: ContextVar[Request | None] = ContextVar("raindrops", default=None)
        self._running: dict[int, Running] = {}
        self._current: Callable[[], Any] = importlib.import_module("greenlet").getcurrent

    @staticmethod
    def answers_exit(error: BaseException) -> bool:
        """See HookedStrategy. gevent's worker drops these two, eventlet's does not."""
        is_dropped = isinstance(error, SystemExit) or type(error).__name__ == "GreenletExit"
        return handles_all() and not (is_dropped and "gevent" in sys.modules)

    def begin(self, req: Any) -> None:
        """See Strategy."""
        self._cancel()
        self._start(super().begin(req), req.method, req.path)

    def _start(self, ticket: int, method: str, path: str) -> None:
        self._request.set(Request(self._held, ticket))
        self._running[ticket] = Running(self._current(), method, path)

    def _take(self) -> Request | None:
        """Return the request of this greenlet, which is over."""
        request = self._request.get()
        if request is not None:
            self._request.set(None)
            self._running.pop(request.ticket, None)
        return request

    def end(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """See Strategy."""
        if not worker.alive:
            attached.finishing()
        request = self._take()
        if request is None:
            return
        error = own_error(error)
        if resp is None:
            request.cancel()
        elif error is None and resp.status is None:
            request.end(0)  # the application took the connection over (ALREADY_HANDLED)
        else:
            status, failed = outcome(resp, error, self.answers_exit)
            request.end(class_of(status), failed)

    def _cancel(self) -> None:
        request = self._take()
        if request is not None:
            request.cancel()

    def finder(self, worker: Any) -> OfGreenlets:
        """See Strategy."""
        return OfGreenlets(self._running)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Strategy."""
        application = worker.wsgi
        counted = expose.wsgi(self._responding(application), app, self._cancel)
        after = self._respond if app is None else None
        worker.wsgi = in_place_of(application, counted, after=after)

    def _respond(self) -> None:
        request = self._request.get()
        if request is not None:
            request.respond()

    def _responding(self, application: Application) -> Application:
        current = self._request

        def counted(environ: Any, start_response: Any) -> Any:
            iterable = application(environ, start_response)
            request = current.get()
            if request is not None:
                request.respond()
            return iterable

        return counted


class AroundWSGI(Strategy):
    """Servers other than gevent's own that run in a gevent worker: they call no hooks."""

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Strategy."""
        worker.wsgi = in_place_of(worker.wsgi, self.around(worker.wsgi, app))

    def exchange(self, environ: Any) -> wsgi.Make:
        """Return what makes the exchange of a request."""
        return wsgi.Exchange

    def finder(self, worker: Any) -> Finder:
        """See Strategy."""
        return OfCall()

    def around(self, application: Application, app: StatusApp | None) -> Application:
        """Wrap a WSGI application."""
        held, header, exchange = AttachedSlot(), self._header, self.exchange

        def counted(environ: Any, start_response: Any) -> Any:
            ticket = held.begin(*wsgi.line_of(environ))
            if header is not None:
                header.record_environ(expose.as_it_came(environ))
            made = exchange(environ)
            return wsgi.call(application, held, ticket, environ, start_response, made=made)

        return expose.wsgi(counted, app)
