"""One ASGI request or websocket, seen from between the server and the application.

Calling ends with `http.response.start`, writing with the response's last message, or when the
application's coroutine ends before it has sent that. What it does later, in background tasks, is
no request; nor is the lifespan. A websocket is open from the application's accept to its close,
the client's disconnect, or the application's end; a handshake that it refuses counts as nothing.

A server may hold the start back until the first byte of the body, and then turn it into a 500 if
the application raises between the two. That is not seen here: the status that was given counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from .seat import CALLING, ENDED, WRITING, Request, Seat
from .status import Answer, StatusApp

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[Any]]


async def call(
    app: App, seat: Seat, ticket: int, scope: Scope, receive: Receive, send: Send
) -> None:
    """Await the application for a request that was begun in `seat`."""
    exchange = Exchange(seat, ticket, receive, send)
    try:
        await app(scope, exchange.receive, exchange.send)
    except Exception:
        exchange.fail()
        raise
    except BaseException:  # cancelled, which is the server's wish and no error
        exchange.end(exchange.hundreds or 0)
        raise
    exchange.finish()


class Exchange(Request):
    """A request and what is known of its response. `hundreds`: its status's class, 0 for a strange
    one; None before the server has taken a status."""

    __slots__ = ("_client_gone", "_is_streamed", "_receive", "_send", "_trailers", "hundreds")

    def __init__(self, seat: Seat, ticket: int, receive: Receive, send: Send) -> None:
        self._seat = seat
        self._ticket = ticket
        self._phase = CALLING
        self._receive = receive
        self._send = send
        self._client_gone = False
        self._is_streamed = False
        self._trailers = False
        self.hundreds: int | None = None

    async def receive(self) -> Message:
        """Stand in for the server's receive."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._client_gone = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Stand in for the server's send.

        A response of one small body ends as it is handed over: the server need not wait for the
        client then, and a coroutine around its own would be most of what a request costs here.
        """
        kind = message["type"]
        if kind == "http.response.start":
            if self._phase == CALLING:  # respond(), without a call
                self._phase = WRITING
                self._seat.respond(self._ticket)
            return self._start(message)
        hundreds = self.hundreds
        if (
            kind == "http.response.body"
            and hundreds is not None
            and not self._is_streamed
            and not message.get("more_body")
            and (body := message.get("body", b"")).__class__ is bytes
            and len(body) <= SMALL
        ):
            phase, self._phase = self._phase, ENDED  # end(), without a call
            if phase != ENDED:
                self._seat.end(self._ticket, phase | hundreds)
            return self._send(message)
        self._is_streamed = True
        return self._go_on(message)

    async def _start(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:  # so servers say that the client is gone
            self._client_gone = True
            raise
        self.hundreds = _HUNDREDS.get(message["status"], 0)
        self._trailers = self._is_streamed = bool(message.get("trailers"))

    async def _go_on(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self._client_gone = True
            raise
        if self._is_last(message):
            self.end(self.hundreds or 0)

    def _is_last(self, message: Message) -> bool:
        if message["type"] == "http.response.trailers":
            return not message.get("more_trailers")
        if self._trailers:
            return False
        # the extensions that send files say more_body, too, or are whole
        return message["type"] in _BODIES and not message.get("more_body")

    def fail(self) -> None:
        """The application raised: servers answer 500 if they still can. If it raised since the
        client is gone, that is no error. Starlette answers 500 itself, then raises; after any other
        response it was a task behind that."""
        if self._client_gone:
            self.end(self.hundreds or 0)
        elif self._phase == ENDED:
            if self.hundreds == 5:
                self._seat.fail()
        else:
            self.end(5 if self.hundreds is None else self.hundreds, failed=True)

    def finish(self) -> None:
        """The application has returned; servers answer 500 if it never gave a status."""
        if self._phase == ENDED:
            return
        never = 0 if self._client_gone else 5
        self.end(never if self.hundreds is None else self.hundreds)


_BODIES = {"http.response.body", "http.response.pathsend", "http.response.zerocopysend"}
_HUNDREDS = {status: status // 100 for status in range(100, 600)}
SMALL = 65536
"""Bytes that servers take without waiting: asyncio's default high-water mark of a transport."""


async def call_websocket(app: App, seat: Seat, scope: Scope, receive: Receive, send: Send) -> None:
    """Await the application for a websocket, which counts in `seat` while it is open."""
    websocket = WebSocket(seat, receive, send)
    try:
        await app(scope, websocket.receive, websocket.send)
    finally:
        websocket.close()


class WebSocket:
    """A websocket: a handshake, then open, then closed."""

    __slots__ = ("_is_open", "_receive", "_seat", "_send")

    def __init__(self, seat: Seat, receive: Receive, send: Send) -> None:
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


def environ(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the status asks of a WSGI environ."""
    client = scope.get("client")
    return {
        "REQUEST_METHOD": scope["method"],
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "PATH_INFO": path(scope),
        # a unix peer's name is no address: some servers give bytes, or split it into letters
        "REMOTE_ADDR": str(client[0]) if client else "",
        **{
            "HTTP_" + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
            for name, value in scope["headers"]
        },
    }


def path(scope: Mapping[str, Any]) -> str:
    """Return the path below where the application is mounted, which WSGI calls PATH_INFO."""
    whole, root = str(scope["path"]), str(scope.get("root_path") or "").rstrip("/")
    return whole.removeprefix(root) if whole.startswith(root + "/") else whole


def exposed(app: StatusApp, scope: Scope) -> Answer | None:
    """Return the status's answer to a request; None if it is the application's."""
    if not app.serves(path(scope)):
        return None
    made = environ(scope)
    return app.exposed(made) if app.exposes_to(made) else None


async def respond(answer: Answer, method: str, send: Send) -> None:
    """Send a status answer."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.all_headers()
    ]
    body = b"" if method == "HEAD" else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
