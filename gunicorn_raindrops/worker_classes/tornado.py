"""The tornado worker class, which calls no hooks.

It runs a WSGI application, or a tornado.web.Application, which is neither WSGI nor ASGI. The first
is called by tornado's WSGI container, which sends the response or refuses it after it has closed
its body: that ends the request. (The container of a tornado before 6.3 does not show that. There
the request ends when the body is closed.)

For the second, tornado's server asks it for a delegate for each request, and the delegate answers
on the request's own connection object. `Delegate` stands between the two. A request begins with its
headers. It is writing from its response's headers on. It ends when the response is finished, which
a handler does also when its client is gone, or when the client goes before the handler has begun. A
connection that is detached after a 101 is no request but a websocket, until its stream is closed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from ..counting import attached, wsgi
from ..counting.attached import AttachedSlot
from ..counting.outcome import class_of_code
from ..counting.queue_header import QueueHeader
from ..counting.request import HeldSlot, Request
from ..looking.flight import Finder
from ..looking.tasks import Known, OfTasks
from ..status.app import StatusApp
from .base import in_place_of
from .greenlets import AroundWSGI

SWITCHING_PROTOCOLS = 101

_RESPONSE = "gunicorn_raindrops.response"
"""Where a request's `Response` is: among its attributes, and in its environ until it is taken."""


def _around(method: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    """Return a method that notes its arguments when it has not failed."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        note(*args)
        return result

    return noted


class Response:
    """What tornado's WSGI container sends in answer to a request. It does so when it has the whole
    of the body and has closed it, and may still refuse the head then.

    Args:
        connection: the request's own.
    """

    def __init__(self, connection: Any) -> None:
        self.exchange: Exchange | None = None
        self._code = 0
        self._connection = connection
        connection.write_headers = _around(connection.write_headers, self._note)

    def _note(self, start_line: Any, *_: Any) -> None:
        self._code = start_line.code

    def end(self, failed: bool) -> None:
        """End the request: the container has sent all, or has failed."""
        vars(self._connection).pop("write_headers", None)
        if self.exchange is not None:
            self.exchange.end(class_of_code(self._code), failed)


class Exchange(wsgi.Exchange):
    """A request to tornado's WSGI container. It answers nothing to the client of an application
    that fails.

    Args:
        held, ticket, start_response: see the base class.
        response: what is sent, and ends the request; None where the container does not tell.
    """

    __slots__ = ("_is_told",)

    def __init__(
        self, held: HeldSlot, ticket: int, start_response: Any, *, response: Response | None = None
    ) -> None:
        super().__init__(held, ticket, start_response)
        self._is_told = response is not None
        if response is not None:
            response.exchange = self

    def fail(self, error: BaseException) -> None:
        """See the base class. An exit ends the worker, and is no error."""
        self.end(0, failed=isinstance(error, Exception))

    def fail_closing(self, error: BaseException) -> None:
        """See the base class: nothing is sent before this."""
        self.fail(error)

    def exhaust(self) -> None:
        """See the base class: without a status nothing is sent."""

    def take_odd(self, body: Any, environ: Any) -> None:
        """See the base class: the container takes nothing odd but what is empty."""
        if body is None or len(body):
            self.fail(TypeError())
        else:
            self.finish()

    def finish(self) -> None:
        """See the base class: the body is closed, but is not sent yet."""
        if not self._is_told:
            super().finish()


def have_told(container: Any, application: Any) -> None:
    """Have a class of WSGI containers tell what they send for an application."""
    handle, environ = container.handle_request, container.environ

    def environ_with_response(self: Any, request: Any) -> Any:
        found = environ(self, request)
        if self.wsgi_application is application:
            found[_RESPONSE] = vars(request)[_RESPONSE] = Response(request.connection)
        return found

    async def handle_request(self: Any, request: Any) -> None:
        failed = True
        try:
            await handle(self, request)
            failed = False
        finally:
            response = vars(request).pop(_RESPONSE, None)
            if response is not None:
                response.end(failed)

    container.environ, container.handle_request = environ_with_response, handle_request


class Tornado(AroundWSGI):
    """tornado. A WSGI application runs on its loop, one request at a time, unless it comes in a
    container with an executor. An application of tornado's own has no such limit, and cannot show
    the status."""

    _is_tornados = False

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Strategy."""
        tornado = sys.modules["tornado.web"], sys.modules["tornado.wsgi"]
        capacity = 1
        self._is_tornados = isinstance(worker.wsgi, tornado[0].Application)
        if self._is_tornados:
            count(worker.wsgi, AttachedSlot(), self._header)
            capacity = super().capacity(worker)
        elif isinstance(worker.wsgi, tornado[1].WSGIContainer):
            container = worker.wsgi
            application = container.wsgi_application
            container.wsgi_application = in_place_of(application, self.around(application, app))
            # `executor` came with tornado 6.3; its default one has no limit to tell
            capacity = getattr(getattr(container, "executor", None), "_max_workers", 1)
            self._tell(type(container), container.wsgi_application)
        else:
            super().wrap(worker, app)
            self._tell(tornado[1].WSGIContainer, worker.wsgi)
        attached.set_capacity(capacity)

    @staticmethod
    def _tell(container: Any, application: Any) -> None:
        if hasattr(container, "handle_request"):  # it came with tornado 6.3
            have_told(container, application)

    def exchange(self, environ: Any) -> wsgi.Make:
        """See the base class."""
        return partial(Exchange, response=environ.pop(_RESPONSE, None))

    def finder(self, worker: Any) -> Finder:
        """See Strategy."""
        if self._is_tornados:
            return OfTasks(lambda: _loop_of(worker), of_handler)
        return super().finder(worker)


def _loop_of(worker: Any) -> Any:
    """Return the loop that a worker runs; None where it is not there yet."""
    loop = vars(worker).get("ioloop")
    return None if loop is None else loop.asyncio_loop


def of_handler(frame: FrameType) -> Known | None:
    """Return the request that a frame handles: tornado.web.RequestHandler._execute."""
    if frame.f_code is not sys.modules["tornado.web"].RequestHandler._execute.__code__:
        return None
    request = vars(frame.f_locals["self"]).get("request")
    if request is None or _REQUEST not in vars(request.connection):
        return None
    counted: Request = vars(request.connection)[_REQUEST]
    return Known(counted.ticket, request.method, request.path)


_REQUEST = "raindrops_request"


def count(application: Any, held: HeldSlot, header: QueueHeader | None = None) -> None:
    """Have the requests of a tornado.web.Application counted from now on."""
    start = application.start_request

    def start_request(server_connection: Any, connection: Any) -> Delegate:
        return Delegate(start(server_connection, connection), connection, held, header)

    application.start_request = start_request


class Delegate:
    """A request, between the server's connection and the application's delegate."""

    def __init__(
        self, delegate: Any, connection: Any, held: HeldSlot, header: QueueHeader | None
    ) -> None:
        self._delegate = delegate
        self._connection = connection
        self._held = held
        self._header = header
        self._request: Request | None = None
        self._code = 0
        self.data_received = delegate.data_received
        self.finish = delegate.finish

    def headers_received(self, start_line: Any, headers: Any) -> Any:
        """Begin the request; see tornado.httputil.HTTPMessageDelegate, as for the rest."""
        ticket = self._held.begin(start_line.method, start_line.path.partition("?")[0])
        if ticket:
            self._request = Request(self._held, ticket)
            if self._header is not None:
                self._header.record(
                    self._peer(), ((name.upper(), value) for name, value in headers.get_all())
                )
            connection = self._connection
            setattr(connection, _REQUEST, self._request)
            connection.write_headers = _around(connection.write_headers, self._respond)
            connection.finish = self._ending(connection.finish)
            connection.detach = self._detached(connection.detach)
        return self._delegate.headers_received(start_line, headers)

    def _peer(self) -> Any:
        return getattr(getattr(self._connection, "context", None), "address", None)

    def on_connection_close(self) -> None:
        """The client is gone."""
        self._end()
        self._delegate.on_connection_close()

    def _respond(self, start_line: Any, *_: Any) -> None:
        self._code = start_line.code
        if self._request is not None:
            self._request.respond()

    def _ending(self, finish: Callable[[], None]) -> Callable[[], None]:
        """tornado raises if the response is shorter than its head says, or has none; nobody tells
        the delegate that the connection is closed then."""

        def finished() -> None:
            failed = True
            try:
                finish()
                failed = False
            finally:
                self._end(failed)

        return finished

    def _end(self, failed: bool = False) -> None:
        request, self._request = self._request, None
        if request is None:
            return
        if self._code == SWITCHING_PROTOCOLS:
            request.cancel()
        else:
            request.end(class_of_code(self._code), failed)

    def _detached(self, detach: Callable[[], Any]) -> Callable[[], Any]:
        def detached() -> Any:
            self._end()
            stream = detach()
            if self._code == SWITCHING_PROTOCOLS and self._held.open():
                _at_close(stream, self._held.close)
            return stream

        return detached


def _at_close(stream: Any, note: Callable[[], None]) -> None:
    """Have something done when a stream is closed, beside the callback that it has for that."""
    set_callback = stream.set_close_callback

    def set_close_callback(callback: Callable[[], None] | None) -> None:
        def closed() -> None:
            del stream.set_close_callback
            note()
            if callback is not None:
                callback()

        set_callback(closed)

    stream.set_close_callback = set_close_callback
    set_close_callback(None)
