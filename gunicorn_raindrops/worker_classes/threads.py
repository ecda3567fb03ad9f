"""Worker classes with one request per thread: sync and gthread.

The hooks carry a request, and its phase is the thread's. The strategies of the other classes, and
what they import, cost a worker of these nothing.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..counting import attached, connection, request
from ..looking.threads import OfThread
from ..status import expose
from ..status.app import StatusApp
from .base import Application, HookedStrategy, in_place_of
from .ending import handles_all, outcome, own_error

_END = request.END


class Threads(HookedStrategy):
    """gthread: a request has a thread from pre_request to post_request."""

    _begin = staticmethod(request.begin)
    _handlers: tuple[str, ...] = ("handle", "finish_request")
    """The worker's methods that have a connection in hand until they return. gthread closes
    connections, from gunicorn 27 on with patience, in its main thread."""

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Strategy."""
        return int(worker.cfg.threads)

    def end(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """See Strategy."""
        if error is None and worker.alive:
            try:
                return _END[resp.status[0]]()
            except (AttributeError, IndexError, KeyError, TypeError):
                pass  # no response, or a strange status
        return self._end_specially(worker, resp, own_error(error))

    def _end_specially(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """End a request that failed, or was the last one, or never came to the application."""
        if not worker.alive:
            attached.finishing()
        if resp is None:
            request.cancel()
            return
        status, failed = outcome(resp, error, self.answers_exit)
        if failed:
            request.fail()
        _END.get(status[:1], request.end_other)()

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Strategy."""
        application = worker.wsgi
        counted = expose.wsgi(responding(application), app, _take_back)
        after = request.respond if app is None else None
        worker.wsgi = in_place_of(application, counted, after=after)
        self._hold_connections(worker)

    def finder(self, worker: Any) -> OfThread:
        """See Strategy."""
        return OfThread()

    def _hold_connections(self, worker: Any) -> None:
        """Count the connections that threads have in hand. gunicorn looks these methods up on the
        worker for each connection."""
        for name in self._handlers:
            setattr(worker, name, partial(connection.hold, getattr(worker, name)))
        connection.count()


class Sync(Threads):
    """sync: one request after the other."""

    _handlers = ("handle",)

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Strategy."""
        return 1

    @staticmethod
    def answers_exit(error: BaseException) -> bool:
        """See HookedStrategy."""
        return handles_all()


def _take_back() -> None:
    """Take a request for the status back, and the connection that it came by."""
    request.cancel()
    connection.leave()


def responding(application: Application) -> Application:
    """Wrap a WSGI application whose requests the hooks begin and end, each on its own thread.

    What it returns goes back untouched, so gunicorn still recognizes a file.
    """
    respond = request.respond

    def counted(environ: Any, start_response: Any) -> Any:
        iterable = application(environ, start_response)
        respond()
        return iterable

    return counted
