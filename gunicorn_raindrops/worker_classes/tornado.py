"""The requests of a tornado.web.Application, which is neither WSGI nor ASGI.

Its server asks it for a delegate for each request, and the delegate answers on the request's own
connection object: between the two stands what counts. A request begins with its headers, is
writing from its response's headers on, and ends as the response is finished, which a handler does
also when its client is gone, or as that goes before its handler has begun. A
connection that is detached after a 101 is no request but a websocket, until its stream is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..counting.queue_header import QueueHeader
from ..counting.request import HeldSlot, Request

SWITCHING_PROTOCOLS = 101


def count(application: Any, seat: HeldSlot, header: QueueHeader | None = None) -> None:
    """Have an application's requests counted from now on."""
    start = application.start_request

    def start_request(server_connection: Any, connection: Any) -> Delegate:
        return Delegate(start(server_connection, connection), connection, seat, header)

    application.start_request = start_request


class Delegate:
    """A request, between the server's connection and the application's delegate."""

    def __init__(
        self, delegate: Any, connection: Any, seat: HeldSlot, header: QueueHeader | None
    ) -> None:
        self._delegate = delegate
        self._connection = connection
        self._seat = seat
        self._header = header
        self._request: Request | None = None
        self._code = 0
        self.data_received = delegate.data_received
        self.finish = delegate.finish

    def headers_received(self, start_line: Any, headers: Any) -> Any:
        """Begin the request; see tornado.httputil.HTTPMessageDelegate, as for the rest."""
        ticket = self._seat.begin(start_line.method, start_line.path.partition("?")[0])
        if ticket:
            self._request = Request(self._seat, ticket)
            if self._header is not None:
                self._header.record(
                    self._peer(), ((name.upper(), value) for name, value in headers.get_all())
                )
            connection = self._connection
            connection.write_headers = self._around(connection.write_headers, self._respond)
            connection.finish = self._around(connection.finish, self._end)
            connection.detach = self._detached(connection.detach)
        return self._delegate.headers_received(start_line, headers)

    def _peer(self) -> Any:
        return getattr(getattr(self._connection, "context", None), "address", None)

    def on_connection_close(self) -> None:
        """The client is gone."""
        self._end()
        self._delegate.on_connection_close()

    @staticmethod
    def _around(method: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            note(*args)
            return result

        return noted

    def _respond(self, start_line: Any, *_: Any) -> None:
        self._code = start_line.code
        if self._request is not None:
            self._request.respond()

    def _end(self) -> None:
        request, self._request = self._request, None
        if request is None:
            return
        if self._code == SWITCHING_PROTOCOLS:
            request.cancel()
        else:
            hundreds = self._code // 100
            request.end(hundreds if 1 <= hundreds <= 5 else 0)

    def _detached(self, detach: Callable[[], Any]) -> Callable[[], Any]:
        def detached() -> Any:
            self._end()
            stream = detach()
            if self._code == SWITCHING_PROTOCOLS and self._seat.open():
                _at_close(stream, self._seat.close)
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
