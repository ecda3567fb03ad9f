"""One ASGI request or websocket, seen from between the server and the application.

Calling ends with `http.response.start`, writing with the response's last message, or when the
application's coroutine ends before it has sent that. What it does later, in background tasks, is
no request; nor is the lifespan. A websocket is open from the application's accept to its close,
the client's disconnect, or the application's end; a handshake that it refuses counts as nothing.

A server may hold the start back until the first byte of the body, and then turn it into a 500 if
the application raises between the two. That is not seen here: the status that was given counts.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .._native import _objects
from .request import HeldSlot

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[Any]]


class Exchange(_objects.Exchange):  # type: ignore[misc]
    """A request and what is known of its response: see exchange.h. It stands in for the server's
    send.

    A response of one small body ends as it is handed over: the server need not wait for the client
    then.
    """

    __slots__ = ("__weakref__",)

    async def receive(self) -> Message:
        """Stand in for the server's receive."""
        message: Message = await self._server_receive()
        if message["type"] == "http.disconnect":
            self._gone()
        return message

    async def _await(self, awaitable: Awaitable[Any]) -> Any:
        return await awaitable


# The application may ask whether what it gets is a coroutine function, as asgiref does. Who asks in
# the older way has asyncio, which not every server that this is imported for does.
if sys.version_info >= (3, 12):
    inspect.markcoroutinefunction(Exchange)
else:
    Exchange._is_coroutine = property(lambda _: sys.modules["asyncio.coroutines"]._is_coroutine)


def counting(application: App, others: App) -> App:
    """Return an application that counts the requests of one, in this process's slot; scopes of
    other types it gives to `others`."""
    counted: App = Exchange.counting(application, others)
    return counted


def call(
    application: App, seat: HeldSlot, ticket: int, scope: Scope, receive: Receive, send: Send
) -> Awaitable[None]:
    """Call an application for a request that was begun in `seat`."""
    awaitable: Awaitable[None] = Exchange.call(application, seat, ticket, scope, receive, send)
    return awaitable


async def call_websocket(
    app: App, seat: HeldSlot, scope: Scope, receive: Receive, send: Send
) -> None:
    """Await the application for a websocket, which counts in `seat` while it is open."""
    websocket = WebSocket(seat, receive, send)
    try:
        await app(scope, websocket.receive, websocket.send)
    finally:
        websocket.close()


class WebSocket:
    """A websocket: a handshake, then open, then closed."""

    __slots__ = ("_is_open", "_receive", "_seat", "_send")

    def __init__(self, seat: HeldSlot, receive: Receive, send: Send) -> None:
        self._seat = seat
        self._receive = receive
        self._send = send
        self._is_open = False

    async def receive(self) -> Message:
        """Stand in for the server's receive."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.close()
        return message

    async def send(self, message: Message) -> None:
        """Stand in for the server's send."""
        if message["type"] == "websocket.close":
            self.close()
        await self._send(message)
        if message["type"] == "websocket.accept" and not self._is_open:
            self._is_open = bool(self._seat.open())

    def close(self) -> None:
        """It is over, which may be said more than once."""
        if self._is_open:
            self._is_open = False
            self._seat.close()
