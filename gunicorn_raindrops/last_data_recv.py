"""How long connections had their request ready before a worker took them: `LastDataRecv`.

Who owns what. The histogram is made where the middleware is constructed, before the server forks.
Every process records there, see `histogram`. Each process remembers which connections it has seen,
by weak references: a connection stays with the worker that accepted it.

What is measured. The kernel says how long ago the last data of a connection arrived
(tcpi_last_data_recv of linux/tcp.h, milliseconds in steps of a clock tick, 1 to 10 ms). It is read
when the application is called, after the request's head. So it covers the time in the accept queue
and the time that the server lets an accepted connection wait. It needs no TCP_DEFER_ACCEPT, since
there is data. A connection's later requests wait for no accept and are not counted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakSet

from .distribution import Distribution
from .histogram import Histogram
from .listeners.tcp_info import TCPInfo
from .settings import Settings, load
from .status import expose
from .status.answers import NOT_FOUND, Answer
from .status.app import StatusApp

PATH = "/raindrops/last_data_recv"
"""Where the documentation of Ruby's raindrops puts it."""

SOCKETS = ("gunicorn.socket", "gunicorn.sock")
"""Where a WSGI environ of gunicorn's has the client's socket; the second is gevent_pywsgi's."""


class LastDataRecv:
    """Record how long connections waited, their request ready, and draw it.

        app = LastDataRecv(app)         # before the server forks

    GET or HEAD `path`: text/plain, the drawn histogram, with the headers of Ruby's
    Raindrops::LastDataRecv, in whole milliseconds where they are times:
        X-Count: connections recorded, this request's own among them.
        X-Min, X-Max, X-Mean, X-Std-Dev: of their times. From here on, only where X-Count is
            greater than one.
        X-Outliers-Low: how many waited less than can be measured; hopefully many.
        X-Outliers-High: how many waited over 73 minutes; hopefully none.

    Nothing is recorded where the server gives no socket (any but gunicorn, and ASGI), of unix
    sockets, and on other systems than Linux.

    Args:
        app: the application. None: every path is the histogram's, and a client that may not read
            it gets a 404. That is for a router which mounts this, where another middleware fills
            the `histogram`.
        path: the path of the histogram.
        histogram: what to record in, made before the fork; None for one of its own. Seconds.
        allow: networks that may read, and `unix` for peers of a unix listener, as for
            `Middleware`. A request that may not read goes on to the application.
        token: when set, reading needs `Authorization: Bearer TOKEN`.

    Raises:
        ValueError: a keyword's value is wrong; the message names it and what it takes.
        TypeError: `app` is not callable.
        OSError: there is no shared memory.
    """

    def __init__(
        self,
        app: Callable[..., Any] | None = None,
        *,
        path: str = PATH,
        histogram: Histogram | None = None,
        allow: Sequence[str] | str = Settings.allow,
        token: str | None = Settings.token,
    ) -> None:
        if app is not None and not callable(app):
            raise TypeError(f"app must be an application, not {type(app).__name__}")
        settings = load({"path": path, "allow": allow, "token": token}, {})
        self.histogram = Histogram() if histogram is None else histogram
        self._app = app
        self._path = settings.path
        routes, read = {settings.path: _answer}, _reading(self.histogram)
        self._status = StatusApp(settings, read, expose.warner(), routes)
        self._seen: WeakSet[Any] = WeakSet()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.count(environ)
        asked = environ if self._app is not None else {**environ, "PATH_INFO": self._path}
        reply = expose.answer_wsgi(self._status, asked)
        if reply is None and self._app is not None:
            return self._app(environ, start_response)
        return (reply or expose.reply_to(environ, NOT_FOUND)).send(start_response)

    def count(self, environ: Mapping[str, Any]) -> None:
        """Record the connection of a request, if this is its first."""
        sock = next((environ[name] for name in SOCKETS if name in environ), None)
        # no TCP socket; one that takes no weak reference; a histogram that was closed
        with contextlib.suppress(OSError, TypeError, ValueError):
            if sock is not None and sock not in self._seen:
                self._seen.add(sock)
                self.histogram.record((TCPInfo(sock).last_data_recv or 0) / 1000)


def _reading(histogram: Histogram) -> Callable[..., Distribution]:
    """Return what reads a histogram; the instant that a reader may give has no meaning here."""

    def read(*since: float) -> Distribution:
        return histogram.read()

    return read


def _answer(read: Any, _: str | None) -> Answer:
    return Answer(200, f"{read}\n".encode(), headers=tuple(headers(read)))


def headers(read: Distribution) -> list[tuple[str, str]]:
    """Return the headers that say what a histogram holds."""
    found: dict[str, int] = {"X-Count": read.count}
    if read.count > 1:
        found |= {
            "X-Min": _milliseconds(read.min),
            "X-Max": _milliseconds(read.max),
            "X-Mean": _milliseconds(read.mean),
            "X-Std-Dev": _milliseconds(read.std_dev),
            "X-Outliers-Low": read.outliers_low,
            "X-Outliers-High": read.outliers_high,
        }
    return [(name, str(value)) for name, value in found.items()]


def _milliseconds(seconds: float | None) -> int:
    return math.floor((seconds or 0.0) * 1000 + 0.5)  # a half goes up, as Ruby's round has it
