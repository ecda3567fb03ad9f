"""One ASGI request, seen from between the server and the application.

Calling ends with `http.response.start`, writing with the response's last message, or when the
application's coroutine ends before it has sent that. What it does later, in background tasks, is
no request; nor is a websocket, nor the lifespan.

A server may hold the start back until the first byte of the body, and then turn it into a 500 if
the application raises between the two. That is not seen here: the status that was given counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from .seat import Request, Seat
from .status import Answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[Any]]


async def call(app: App, seat: Seat, scope: Scope, receive: Receive, send: Send) -> None:
    """Await the application for a request that was begun in `seat`."""
    exchange = Exchange(seat, scope, receive, send)
    try:
        await app(scope, exchange.receive, exchange.send)
    except Exception:
        exchange.fail()
        raise
    except BaseException:  # cancelled, which is the server's wish and no error
        exchange.end(exchange.status)
        raise
    exchange.finish()


class Exchange(Request):
    """A request and what is known of its response."""

    __slots__ = ("_client_gone", "_receive", "_send", "_trailers", "status")

    def __init__(self, seat: Seat, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(seat, scope["method"], scope["path"])
        self._receive = receive
        self._send = send
        self._client_gone = False
        self._trailers = False
        self.status: str | None = None

    async def receive(self) -> Message:
        """Stand in for the server's receive."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._client_gone = True
        return message

    async def send(self, message: Message) -> None:
        """Stand in for the server's send."""
        starts = message["type"] == "http.response.start"
        if starts:
            self.respond()
        try:
            await self._send(message)
        except OSError:  # so servers say that the client is gone
            self._client_gone = True
            raise
        if starts:
            self.status = str(message["status"])
            self._trailers = bool(message.get("trailers"))
        elif self._is_last(message):
            self.end(self.status)

    def _is_last(self, message: Message) -> bool:
        if message["type"] == "http.response.trailers":
            return not message.get("more_trailers")
        if self._trailers:
            return False
        # the extensions that send files say more_body, too, or are whole
        return message["type"] in _BODIES and not message.get("more_body")

    def fail(self) -> None:
        """The application raised: servers answer 500 if they still can. If it raised since the
        client is gone, that is no error."""
        if self._client_gone:
            self.end(self.status)
        else:
            self.end(self.status or "500", failed=True)

    def finish(self) -> None:
        """The application has returned; servers answer 500 if it never gave a status."""
        self.end(self.status or (None if self._client_gone else "500"))


_BODIES = {"http.response.body", "http.response.pathsend", "http.response.zerocopysend"}


def environ(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the status asks of a WSGI environ."""
    client = scope.get("client")
    return {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": path(scope),
        "REMOTE_ADDR": client[0] if client else "",
        **{
            "HTTP_" + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
            for name, value in scope["headers"]
        },
    }


def path(scope: Mapping[str, Any]) -> str:
    """Return the path below where the application is mounted, which WSGI calls PATH_INFO."""
    whole, root = str(scope["path"]), str(scope.get("root_path") or "").rstrip("/")
    return whole.removeprefix(root) if whole.startswith(root + "/") else whole


async def respond(answer: Answer, method: str, send: Send) -> None:
    """Send a status answer."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.all_headers()
    ]
    body = b"" if method == "HEAD" else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
