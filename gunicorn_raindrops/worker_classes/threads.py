"""Worker classes with one request per thread: sync and gthread.

The hooks carry a request, and its phase is the thread's. The strategies of the other classes, and
what they import, cost a worker of these nothing.
"""

from __future__ import annotations

from typing import Any

from ..counting import attached, request
from ..status import expose
from ..status.app import StatusApp
from .base import Application, HookedStrategy, in_place_of
from .ending import handles_all, outcome, own_error

_END = request.END


class Threads(HookedStrategy):
    """gthread: a request has a thread from pre_request to post_request."""

    _begin = staticmethod(request.begin)

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
        counted = expose.wsgi(responding(application), app, request.cancel)
        after = request.respond if app is None else None
        worker.wsgi = in_place_of(application, counted, after=after)


class Sync(Threads):
    """sync: one request after the other."""

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Strategy."""
        return 1

    @staticmethod
    def answers_exit(error: BaseException) -> bool:
        """See HookedStrategy."""
        return handles_all()


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
