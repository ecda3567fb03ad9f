"""Gunicorn's worker classes: how the requests of each are counted, and what else differs.

One of four ways is chosen once, in the worker. Where Gunicorn calls the request hooks and a request
stays on its thread (sync, gthread), the hooks carry it, and its phase is the thread's. Where it
stays on its greenlet (gevent, eventlet), the hooks carry it in a context variable, of which each
greenlet has its own. Everywhere else what stands around the application sees the whole of a
request, and the hooks do nothing: the loops of asyncio (asgi, uvicorn), since many requests share
a thread there, and the servers that call no hooks (gevent_pywsgi, tornado).

Nothing here imports Gunicorn or a server: classes are known by their names, since most of their
modules are not there, and what a worker is asked for is said beside each class. A subclass is
counted as its base. A class that is not known is not touched at all: what its application is, and
who calls it, is anybody's guess.
"""

from __future__ import annotations

import errno
import functools
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from . import asgi, scoreboard, tornado_requests, wsgi
from .queue_header import QueueHeader
from .seat import AttachedSeat, Request, hundreds_of
from .status import StatusApp

Application = Callable[..., Any]


def of(worker_class: type) -> type[Way] | None:
    """Return the way in which a class of workers is counted; None: it is not known."""
    for base in worker_class.__mro__:
        way = WAYS.get(f"{base.__module__}.{base.__qualname__}")
        if way is Greenlets and getattr(worker_class, "server_class", None) is not None:
            return AroundWSGI  # gevent's server, or another, runs in gunicorn's place
        if way is not None:
            return way
    return None


class Way:
    """How one worker's requests are counted. `begin` and `end` are what the hooks do."""

    hooks = False
    """Whether the request hooks do anything; if not, gunicorn's own may be put back."""

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """How many requests a worker can run at once, as far as its settings tell."""
        return int(worker.cfg.worker_connections)

    def __init__(self, header: QueueHeader | None = None) -> None:
        """`header` tells from a request's headers how long it has waited; None: nobody asks."""
        self._header = header

    def begin(self, req: Any) -> None:
        """A request is about to reach the application."""

    def end(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """It has been answered, or has failed."""

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """See the end coming: on SIGTERM a worker finishes what it has."""
        before(worker, "handle_exit", scoreboard.finishing)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """Put around the worker's application what counts there, and what answers the status on
        the application's own listeners, if `app` is to."""
        raise NotImplementedError


def before(owner: Any, name: str, first: Callable[[], Any]) -> None:
    """Have a method of a worker, or of a class, do something else first."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def both(*args: Any) -> Any:
        first()
        return method(*args)

    setattr(owner, name, both)


# What the hooks carry.

_CLIENT_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN}


def _is_gone(error: BaseException | None) -> bool:
    """Tell whether an error says that the client is gone, which is no fault of the application."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return error.errno in _CLIENT_GONE
    http2 = sys.modules.get("gunicorn.http2.errors")  # from 25 on, once it has spoken HTTP/2
    return isinstance(error, ssl.SSLError) or (
        http2 is not None and isinstance(error, http2.HTTP2Error)
    )


def _outcome(resp: Any, error: BaseException | None) -> tuple[str, bool]:
    """Return the status that the client got, and whether the application failed.

    gunicorn calls post_request while the request's exception passes by. An application that
    raises before its first byte leaves a status that is None, or one that was never sent: the
    client got a 500. If it is the client that went, the status stands as it was meant.
    """
    gone = _is_gone(error)
    sent = resp.headers_sent or error is None or gone
    return (str(resp.status) if sent and resp.status else "500"), error is not None and not gone


def _begin(begin: Callable[[str, str, int], Any], header: QueueHeader | None, req: Any) -> Any:
    try:
        # what a connection's later requests have waited the kernel does not know
        fd = req.unreader.sock.fileno() if req.req_number == 1 else -1
    except AttributeError:  # HTTP/2
        fd = -1
    if header is not None:
        header.record(req.peer_addr, req.headers)
    return begin(req.method, req.path, fd)


class Threads(Way):
    """gthread: a request has a thread from pre_request to post_request."""

    hooks = True

    def begin(self, req: Any) -> None:
        """See Way."""
        _begin(scoreboard.begin, self._header, req)

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Way."""
        return int(worker.cfg.threads)

    def end(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """See Way."""
        if error is None and worker.alive:
            try:
                return _END[resp.status[0]]()
            except (AttributeError, IndexError, KeyError, TypeError):
                pass  # no response, or a strange status
        return _end_specially(worker, resp, error)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        worker.wsgi = exposed(responding(worker.wsgi), app, scoreboard.cancel)


_END = scoreboard.END


def _end_specially(worker: Any, resp: Any, error: BaseException | None) -> None:
    """End a request that failed, or was the last one, or never came to the application."""
    if not worker.alive:
        scoreboard.finishing()
    if resp is None:
        scoreboard.cancel()
        return
    status, failed = _outcome(resp, error)
    if failed:
        scoreboard.fail()
    _END.get(status[0], scoreboard.end_other)()


def responding(application: Application) -> Application:
    """Wrap a WSGI application whose requests are the hooks', on a thread each; what it returns
    goes back untouched, so that gunicorn still knows a file."""
    respond = scoreboard.respond

    def counted(environ: Any, start_response: Any) -> Any:
        iterable = application(environ, start_response)
        respond()
        return iterable

    return counted


class Sync(Threads):
    """sync: one request after the other."""

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Way."""
        return 1


class Greenlets(Way):
    """gevent, eventlet: a request has a greenlet from pre_request to post_request.

    A greenlet's context is its own. One that the application starts has at most a copy, and calls
    no hooks.
    """

    hooks = True

    def __init__(self, header: QueueHeader | None = None) -> None:
        super().__init__(header)
        self._seat = AttachedSeat()
        self._request: ContextVar[Request | None] = ContextVar("raindrops", default=None)

    def begin(self, req: Any) -> None:
        """See Way."""
        self._cancel()
        ticket = _begin(scoreboard.begin_here, self._header, req)
        self._request.set(Request(self._seat, ticket))

    def end(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """See Way."""
        if not worker.alive:
            scoreboard.finishing()
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
            status, failed = _outcome(resp, error)
            request.end(hundreds_of(status), failed)

    def _cancel(self) -> None:
        request = self._request.get()
        if request is not None:
            self._request.set(None)
            request.cancel()

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        worker.wsgi = exposed(self._responding(worker.wsgi), app, self._cancel)

    def _responding(self, application: Application) -> Application:
        current = self._request

        def counted(environ: Any, start_response: Any) -> Any:
            iterable = application(environ, start_response)
            request = current.get()
            if request is not None:
                request.respond()
            return iterable

        return counted


# What is put around the application.


def exposed(
    application: Application, app: StatusApp | None, cancel: Callable[[], None]
) -> Application:
    """Wrap a WSGI application to answer the status itself; `cancel` takes back what the hooks
    have begun for such a request, which is none of the application's."""
    if app is None:
        return application

    def exposed(environ: Any, start_response: Any) -> Any:
        if not (app.serves(environ["PATH_INFO"]) and app.exposes_to(_as_it_came(environ))):
            return application(environ, start_response)
        cancel()
        answer = app.exposed(environ)
        start_response(answer.status_line, answer.all_headers())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    return exposed


def _as_it_came(environ: Any) -> Any:
    """Return an environ without the name of a unix peer, who may have chosen any, also one that
    reads like an address."""
    # the second name is gevent_pywsgi's
    sock = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")
    is_unix = sock is not None and sock.family == socket.AF_UNIX
    # which tornado calls so; no TCP peer has this address
    if not is_unix and environ.get("REMOTE_ADDR") != "0.0.0.0":
        return environ
    return {**environ, "REMOTE_ADDR": ""}


def _nothing() -> None:
    pass


class AroundWSGI(Way):
    """gevent_pywsgi, and other servers that run in a gevent worker: they call no hooks."""

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        worker.wsgi = self.around(worker.wsgi, app)

    def around(self, application: Application, app: StatusApp | None) -> Application:
        """Wrap a WSGI application."""
        seat, header = AttachedSeat(), self._header

        def counted(environ: Any, start_response: Any) -> Any:
            ticket = seat.begin(*wsgi.line_of(environ))
            if header is not None:
                header.record_environ(_as_it_came(environ))
            return wsgi.call(application, seat, ticket, environ, start_response)

        return exposed(counted, app, _nothing)


class Tornado(AroundWSGI):
    """tornado: it calls no hooks. A WSGI application runs on its loop, a request at a time, unless
    it comes in a container with an executor; an application of tornado's own has no such limit,
    and no place to show the status."""

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        tornado = sys.modules["tornado.web"], sys.modules["tornado.wsgi"]
        capacity = 1
        if isinstance(worker.wsgi, tornado[0].Application):
            tornado_requests.count(worker.wsgi, AttachedSeat(), self._header)
            capacity = super().capacity(worker)
        elif isinstance(worker.wsgi, tornado[1].WSGIContainer):
            container = worker.wsgi
            container.wsgi_application = self.around(container.wsgi_application, app)
            capacity = getattr(getattr(container, "executor", None), "_max_workers", 1)
        else:
            super().wrap(worker, app)
        scoreboard.set_capacity(capacity)


class AroundASGI(Way):
    """asgi: many requests at once on one thread; its hooks see no websocket, and with a
    post_request it would wait for what an application does after its response."""

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """See Way."""
        before(worker, "handle_exit_signal", scoreboard.finishing)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        worker.asgi = self.around(worker.asgi, app)

    def around(self, application: asgi.App, app: StatusApp | None) -> asgi.App:
        """Wrap an ASGI application."""
        seat, header = AttachedSeat(), self._header

        # No coroutine of its own, which would cost as much again: it returns another's.
        def counted(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> Awaitable[None]:
            kind = scope["type"]
            if kind == "http":
                if app is not None and (answer := asgi.exposed(app, scope)):
                    return asgi.respond(answer, scope["method"], send)
                ticket = seat.begin(scope["method"], scope["path"])
                if header is not None:
                    header.record_scope(scope)
                return asgi.call(application, seat, ticket, scope, receive, send)
            if kind == "websocket":
                return asgi.call_websocket(application, seat, scope, receive, send)
            return application(scope, receive, send)

        return counted


class Uvicorn(AroundASGI):
    """uvicorn's workers. Their config makes of the application what the server then calls: it
    finds out of what interface that is, and whether it is a factory; so ours goes around the
    result, where also the peer is still the one that connected."""

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Way. uvicorn has no limit of its own, unless a subclass gives it one: gunicorn's is
        what the user expects of a worker."""
        return int(worker.config.limit_concurrency or worker.cfg.worker_connections)

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """See Way. The server takes the signals over, by a method of its own."""
        before(sys.modules["uvicorn.server"].Server, "handle_exit", scoreboard.finishing)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        config = worker.config
        load = config.load

        def load_and_wrap() -> None:
            load()
            config.loaded_app = self.around(config.loaded_app, app)

        config.load = load_and_wrap


WAYS: dict[str, type[Way]] = {
    "gunicorn.workers.sync.SyncWorker": Sync,
    "gunicorn.workers.gthread.ThreadWorker": Threads,
    "gunicorn.workers.base_async.AsyncWorker": Greenlets,  # gevent, eventlet and their like
    "gunicorn.workers.gtornado.TornadoWorker": Tornado,
    "gunicorn.workers.gasgi.ASGIWorker": AroundASGI,
    "uvicorn.workers.UvicornWorker": Uvicorn,
    "uvicorn_worker._workers.UvicornWorker": Uvicorn,
}
