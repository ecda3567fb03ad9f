"""gevent_pywsgi: gevent's own WSGI server in gunicorn's place.

It calls no hooks. Its handler has a method for each response, which sees the whole of a request and
knows afterwards what was sent: nothing to a client that is gone, or a 500 in place of what the
application had meant. So a request begins and ends there.
"""

from __future__ import annotations

from typing import Any

from ..counting import wsgi
from ..counting.outcome import class_of_code
from ..status import expose
from ..status.app import StatusApp
from .greenlets import Greenlets


class PyWSGI(Greenlets):
    """gevent_pywsgi, and worker classes whose handler is derived from gevent's. A connection has a
    greenlet."""

    has_hooks = False

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Strategy."""
        worker.wsgi_handler = counting(worker.wsgi_handler, self)
        super().wrap(worker, app)

    def start(self, environ: Any) -> None:
        """Begin the request of this greenlet."""
        method, path = wsgi.line_of(environ)
        self._start(self._held.begin(method, path), method, path)
        if self._header is not None:
            self._header.record_environ(expose.as_it_came(environ))

    def finish(self, handler: Any, error: BaseException | None) -> None:
        """End it, unless it was one for the status.

        Args:
            handler: gevent's. A code below 0 was sent before the client went.
            error: what the application has raised.
        """
        request = self._take()
        if request is None:
            return
        hundreds = class_of_code(abs(handler.code)) if handler.response_length else 0
        request.end(hundreds, isinstance(error, Exception) or (error is not None and hundreds == 5))


def counting(handler: Any, strategy: PyWSGI) -> Any:
    """Return a class of handlers whose requests are counted."""

    class Handler(handler):  # type: ignore[misc]
        raindrops_error: BaseException | None

        def handle_one_response(self) -> None:
            self.raindrops_error = None
            strategy.start(self.environ)
            try:
                super().handle_one_response()
            except BaseException as error:
                self.raindrops_error = error
                raise
            finally:
                strategy.finish(self, self.raindrops_error)

        def handle_error(self, kind: Any, error: Any, traceback: Any) -> None:
            self.raindrops_error = error
            super().handle_error(kind, error, traceback)

    return Handler
