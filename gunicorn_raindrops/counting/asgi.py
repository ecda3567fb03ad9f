"""Count one ASGI request, from between the server and the application.

What must be true:

- A request is calling until its application sends `http.response.start`, then writing. It ends
  once: with the last message of its response, or when the application's coroutine ends before
  that. What the application does later, in background tasks, is no request; nor is the lifespan.
- A response of one small body ends before the server gets the body, since no server waits for the
  client then. Any other response ends when the server has taken its last message: a body or a file
  without `more_body`, or the last trailers if the start announced trailers.
- A status counts when the server has taken the start. A start that was refused, cancelled or never
  awaited leaves the response without a class.
- The client is gone when `receive` returns `http.disconnect`, or the server's `send` raises an
  error that says so (see `outcome`), which that of a file which it cannot open does not. What the
  application raises from then on is no error. Neither is a cancellation.
- If the application raises before it has given a status, or returns without one, the server
  answers 500, and that counts. Starlette sends its own 500, then raises: that is an error, although
  the request has ended. After any other response, it was a background task that raised.
- Messages reach the server as they are. A message that is malformed is the server's to refuse.

Who holds the state: an `Exchange`, which lives in the frame of the coroutine that the server
awaits. `counting` begins a request inside this coroutine, so one that is never awaited counts
nothing. One that is closed or collected half-way ends its request as a cancelled one.

Everything between the server and the application is a plain coroutine. So `cr_await` leads from the
server's task to the frame in which the application waits, which is where a request is stuck.
Neither a task nor a class with `__await__` may stand between them.

What a server sends when the application fails is its own affair. As it stands, an `Exchange` knows
what most do; `worker_classes/asgi.py` has those of the servers that differ. Under another server
that holds the start back until the first byte of the body, the application's status counts.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .._native._objects import ERROR
from .outcome import class_of_code, is_client_gone
from .request import CALLING, ENDED, WRITING, HeldSlot

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[Any]]

SMALL = 65536
"""Bytes that servers take without waiting: asyncio's default high-water mark of a transport."""

_START = "http.response.start"
_BODY = "http.response.body"
_TRAILERS = "http.response.trailers"
_BODIES = _BODY, "http.response.pathsend", "http.response.zerocopysend"

_HUNDREDS: dict[Any, int] = {code: class_of_code(code) for code in range(100, 600)}

_log = logging.getLogger("gunicorn_raindrops")


def counting(
    application: App, held: HeldSlot, others: App, kind: type[Exchange] | None = None
) -> App:
    """Return an application that counts the requests of `application` in the slot `held`, and gives
    scopes of other types than `http` to `others`. `kind` says what the server sends."""
    kind = kind or Exchange

    async def counted(scope: Scope, receive: Receive, send: Send) -> Any:
        if scope["type"] != "http":
            return await others(scope, receive, send)
        exchange = _exchange(kind, held, _begin(held, scope), scope, receive, send)
        try:
            result = await application(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.fail(error)
            raise
        if exchange.phase != ENDED:
            exchange.finish()
        return result

    return counted


async def call(
    application: App, held: HeldSlot, ticket: int, scope: Scope, receive: Receive, send: Send
) -> Any:
    """Await the application for a request that was begun in the slot `held`."""
    exchange = _exchange(Exchange, held, ticket, scope, receive, send)
    try:
        result = await application(scope, exchange.receive, exchange.send)
    except BaseException as error:
        exchange.fail(error)
        raise
    exchange.finish()
    return result


def _begin(held: HeldSlot, scope: Scope) -> int:
    try:
        return held.begin(scope["method"], scope["path"])
    except Exception:  # the server gave something else than two strings
        return held.begin("", "")


class Exchange:
    """A request and what is known of its response.

    Every message of every request passes through `send`: there a key is looked for with `in`, which
    is quicker than `get`.

    Attributes:
        phase: CALLING, WRITING or ENDED.
        hundreds: the class of its status, 0 for a strange one; None before the server has taken a
            start.
        client_gone: nobody waits for the response.
        scope: the request's.
        trailers: the start announced them.
        untouched: nothing was sent after the start, so that one body may be the whole response.
    """

    __slots__ = (
        "client_gone",
        "held",
        "hundreds",
        "phase",
        "scope",
        "server_receive",
        "server_send",
        "ticket",
        "trailers",
        "untouched",
    )

    held: HeldSlot
    ticket: int
    server_receive: Receive
    server_send: Send
    phase: int
    scope: Scope
    hundreds: int | None
    client_gone: bool
    trailers: bool
    untouched: bool

    async def receive(self) -> Message:
        """Stand in for the server's receive."""
        message = await self.server_receive()
        if message["type"] == "http.disconnect":
            self.client_gone = True
        return message

    async def send(self, message: Message) -> None:
        """Stand in for the server's send."""
        try:
            kind = message["type"]
        except Exception:  # the server's to refuse
            kind = None
        if kind == _START:
            self.respond()
        elif self.untouched and kind == _BODY and not self.trailers and _is_small_and_last(message):
            self.end(self.hundreds or 0)
            await self.server_send(message)
            return
        else:
            self.untouched = False
        try:
            await self.server_send(message)
        except OSError as error:
            if is_client_gone(error, by_server=True):
                self.client_gone = True
            raise
        if kind == _START:
            self.hundreds = _HUNDREDS.get(message.get("status"), 0)
            self.trailers = "trailers" in message and message["trailers"]
            self.untouched = True
        elif self.phase != ENDED and self._is_last(kind, message):
            self.end(self.hundreds or 0)

    def _is_last(self, kind: Any, message: Message) -> bool:
        if kind == _TRAILERS:
            return not message.get("more_trailers")
        return kind in _BODIES and not self.trailers and not message.get("more_body")

    def finish(self) -> None:
        """End the request: the application has returned."""
        self.end(self._hundreds_or(0 if self.client_gone else 5))

    def fail(self, error: BaseException) -> None:
        """End the request if it has not ended: the application has raised, or was cancelled."""
        if self.client_gone or not isinstance(error, Exception):
            self.end(self._hundreds_or(0))
        elif self.phase != ENDED:
            self.end(self._hundreds_or(5) | ERROR)
        elif self.hundreds == 5:
            self._fail_late()

    def _hundreds_or(self, otherwise: int) -> int:
        return otherwise if self.hundreds is None else self.hundreds

    # The steps. A slot that fails must not cost the application its request.

    def respond(self) -> None:
        """Go from calling to writing."""
        if self.phase == CALLING:
            self.phase = WRITING
            try:
                self.held.respond(self.ticket)
            except Exception:
                _complain()

    def end(self, how: int) -> None:
        """End it, once: `how` is a class of status, and ERROR if the application raised."""
        phase = self.phase
        if phase == ENDED:
            return
        self.phase = ENDED
        try:
            self.held.end(self.ticket, phase | how)
        except Exception:
            _complain()

    def _fail_late(self) -> None:
        try:
            self.held.fail()
        except Exception:
            _complain()


def _exchange(
    kind: type[Exchange], held: HeldSlot, ticket: int, scope: Scope, receive: Receive, send: Send
) -> Exchange:
    """Make an exchange. Before Python 3.13, calling an `__init__` costs more than these lines."""
    exchange = kind()
    exchange.held = held
    exchange.ticket = ticket
    exchange.server_receive = receive
    exchange.server_send = send
    exchange.phase = CALLING
    exchange.scope = scope
    exchange.hundreds = None
    exchange.client_gone = exchange.trailers = exchange.untouched = False
    return exchange


def _is_small_and_last(message: Message) -> bool:
    if "more_body" in message and message["more_body"]:  # noqa: RUF019
        return False
    body = message["body"] if "body" in message else b""  # noqa: SIM401
    return type(body) is bytes and len(body) <= SMALL


def _complain() -> None:
    _log.warning("gunicorn-raindrops: a request was not counted", exc_info=True)
