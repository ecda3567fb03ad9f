"""One WSGI request, seen from between the server and the application.

Calling ends when the application's callable has returned. Writing ends when the server closes what
it returned, or, if it never does, when that is garbage: a request in the gauges keeps nothing
alive. So the body is proxied, `close` and `len` with it, and is iterated no sooner, no further and
no more often than the server does.

A file in the server's own wrapper goes back untouched, or the server would not know it for
sendfile(2): its end is seen from a `close` put on that one object. Where it takes no attribute
(and for a body that is no iterable of bytes) writing ends as the application returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .outcome import class_of, is_client_gone
from .request import HeldSlot, Request

FILE_WRAPPER = "wsgi.file_wrapper"


def call(
    app: Callable[..., Any],
    held: HeldSlot,
    ticket: int,
    environ: Any,
    start_response: Any,
    *,
    made: Make | None = None,
) -> Any:
    """Call the application for a request that was begun in `held`; returns what it returns, or a
    proxy of that. `made`: what makes the exchange, where it is no plain one."""
    exchange = (made or Exchange)(held, ticket, start_response)
    wrapper = environ.get(FILE_WRAPPER)
    if wrapper is not None and not isinstance(wrapper, type):
        # uWSGI's is a function: what came from it cannot be told otherwise
        environ[FILE_WRAPPER] = partial(exchange.wrap, wrapper)
    try:
        body = app(environ, exchange.start_response)
    except BaseException as error:
        exchange.fail(error)
        raise
    exchange.respond()
    if exchange.is_wrapped(body, wrapper):
        _watch(body, exchange)
        return body
    if body is None or isinstance(body, (bytes, str)):
        exchange.take_odd(body, environ)
        return body
    return SizedBody(body, exchange) if hasattr(body, "__len__") else Body(body, exchange)


class Exchange(Request):
    """A request and what is known of its response."""

    __slots__ = ("_client_gone", "_start", "_wrapped", "sent", "status")

    def __init__(self, held: HeldSlot, ticket: int, start_response: Callable[..., Any]) -> None:
        super().__init__(held, ticket)
        self._start = start_response
        self._wrapped: Any = None
        self._client_gone = False
        self.status: str | None = None
        self.sent = False

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Stand in for the server's start_response."""
        more = () if exc_info is None else (exc_info,)
        write = self._start(status, headers, *more)
        self.status = status
        return write and partial(self._write, write)

    def _write(self, write: Callable[[bytes], Any], data: bytes) -> Any:
        try:
            result = write(data)
        except OSError as error:
            self._client_gone = is_client_gone(error, by_server=True)
            raise
        self.sent = self.sent or bool(data)
        return result

    def wrap(self, wrapper: Callable[..., Any], *args: Any) -> Any:
        """Stand in for the server's file wrapper where that is a function."""
        self._wrapped = wrapper(*args)
        return self._wrapped

    def is_wrapped(self, body: Any, wrapper: Any) -> bool:
        """Tell whether a body is a file in the server's wrapper."""
        wrapped, self._wrapped = self._wrapped, None
        if isinstance(wrapper, type):
            return isinstance(body, wrapper)
        return body is not None and body is wrapped

    def fail(self, error: BaseException) -> None:
        """The application raised: servers answer 500 if they still can. If it raised since the
        client is gone, that is no error."""
        if self._client_gone:
            self.end(class_of(self.status) if self.sent else 0)
        else:
            self.end(class_of(self.status) if self.sent else 5, failed=True)

    def fail_closing(self, error: BaseException) -> None:
        """What the application returned raised as it was closed, when all of it was sent."""
        self.end(class_of(self.status), failed=True)

    def take_odd(self, body: Any, environ: Any) -> None:
        """The application has returned what is no iterable of bytes. Some servers take bytes and
        str, one takes None; the others fail."""
        if body is None and "uwsgi.version" not in environ:
            self.fail(TypeError())
        else:
            self.finish()

    def exhaust(self) -> None:
        """The body is over; servers answer 500 to an application that never gave a status."""
        self.status = self.status or "500"

    def finish(self) -> None:
        """The response is over."""
        self.end(class_of(self.status))


Make = Callable[[HeldSlot, int, Callable[..., Any]], Exchange]


def line_of(environ: Any) -> tuple[str, str]:
    """Return a request's method and whole path, as the text that its bytes are; WSGI has them in
    latin-1."""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if not path.isascii():
        path = path.encode("latin-1", "replace").decode(errors="replace")
    return environ.get("REQUEST_METHOD", ""), path


class Body:
    """What the application returned, followed to its end."""

    __slots__ = ("_body", "_exchange", "_next")

    def __init__(self, body: Any, exchange: Exchange) -> None:
        self._body = body
        self._exchange = exchange
        self._next: Callable[[], bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._next = iter(self._body).__next__
        except BaseException as error:
            self._exchange.fail(error)
            raise
        return self

    def __next__(self) -> bytes:
        if self._next is None:  # the server takes it for an iterator: a generator was one
            iter(self)
        try:
            chunk = self._next()  # type: ignore[misc]
        except StopIteration:
            self._exchange.exhaust()
            raise
        except BaseException as error:
            self._exchange.fail(error)
            raise
        if chunk:
            self._exchange.sent = True
        return chunk

    @property
    def ticket(self) -> int:
        """The request's ticket."""
        return self._exchange.ticket

    def close(self) -> None:
        """Close what the application returned, as often as the server does."""
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as error:
            self._exchange.fail_closing(error)
            raise
        self._exchange.finish()

    def __del__(self) -> None:
        self._exchange.finish()


class SizedBody(Body):
    """A body whose length servers may ask for, to say it in Content-Length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)


class _Close:
    """The `close` of a wrapped file: its own, then ours."""

    __slots__ = ("_close", "_exchange")

    def __init__(self, close: Callable[[], Any] | None, exchange: Exchange) -> None:
        self._close = close
        self._exchange = exchange

    def __call__(self) -> None:
        close, self._close = self._close, None  # a method of what has us: a cycle
        try:
            if close is not None:
                close()
        finally:
            self._exchange.finish()

    def __del__(self) -> None:
        self._exchange.finish()


def _watch(file: Any, exchange: Exchange) -> None:
    try:
        file.close = _Close(getattr(file, "close", None), exchange)
    except (AttributeError, TypeError):
        exchange.finish()
