"""Count one ASGI websocket, from between the server and the application.

A websocket is open from the application's accept to its close, the client's disconnect, or the
application's end. A handshake that the application refuses counts as nothing. Messages reach the
server as they are.

As in `asgi`, all that stands between the server and the application is a plain coroutine.
"""

from __future__ import annotations

from typing import Any

from .asgi import App, Message, Receive, Scope, Send
from .request import HeldSlot


async def call(application: App, held: HeldSlot, scope: Scope, receive: Receive, send: Send) -> Any:
    """Await the application for a websocket, which counts in the slot `held` while it is open."""
    websocket = WebSocket(held, receive, send)
    try:
        return await application(scope, websocket.receive, websocket.send)
    finally:
        websocket.close()


class WebSocket:
    """A websocket: a handshake, then open, then closed."""

    __slots__ = ("_held", "_is_open", "_receive", "_send")

    def __init__(self, held: HeldSlot, receive: Receive, send: Send) -> None:
        self._held = held
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
            self._is_open = bool(self._held.open())

    def close(self) -> None:
        """Close it, if it is open."""
        if self._is_open:
            self._is_open = False
            self._held.close()
