"""The status on the application's own listeners: what stands around a WSGI or ASGI application.

A request that is not for the status costs one look-up here and goes on to the application
untouched. So does one whose peer may not read the status: it must not learn that there is one.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from .answers import Answer
from .app import StatusApp

_log = logging.getLogger("gunicorn_raindrops")

_FAILING = "a request may be for the status, and goes on to the application"

Application = Callable[..., Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[Any]]


def warner() -> Callable[[str], None]:
    """Return a function that logs a warning, each line once, where no server gives us its log."""
    warned: set[str] = set()

    def warn(message: str) -> None:
        if message not in warned:
            warned.add(message)
            _log.warning("gunicorn-raindrops: %s", message)

    return warn


def _no_cancel() -> None:
    pass


# WSGI.


def wsgi(
    application: Application, app: StatusApp | None, cancel: Callable[[], None] = _no_cancel
) -> Application:
    """Return a WSGI application that answers the status itself.

    Args:
        application: gets every other request.
        app: makes the answers; None: `application` is returned as it is.
        cancel: takes back what the server's hooks have begun for a status request: it is none of
            the application's, and must not be seen in its own answer.
    """
    if app is None:
        return application

    def exposed(environ: Any, start_response: Any) -> Any:
        try:
            reply = answer_wsgi(app, environ, cancel)
        except Exception:  # there was no memory to call the boundary with
            reply = None
        return application(environ, start_response) if reply is None else reply.send(start_response)

    return exposed


class Reply(NamedTuple):
    """An answer as WSGI has it."""

    status_line: str
    headers: list[tuple[str, str]]
    body: list[bytes]

    def send(self, start_response: Any) -> list[bytes]:
        """Send the head, and return the body."""
        start_response(self.status_line, self.headers)
        return self.body


def reply_to(environ: Mapping[str, Any], answer: Answer) -> Reply:
    """Return what a client gets of an answer."""
    body = [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]
    return Reply(answer.status_line, answer.all_headers(), body)


def answer_wsgi(
    app: StatusApp, environ: Mapping[str, Any], cancel: Callable[[], None] = _no_cancel
) -> Reply | None:
    """Return the status's reply to a WSGI request; None if it is the application's. It is, too, if
    that cannot be told. `cancel` is called before an answer is made: see `wsgi`."""
    if not app.serves(environ.get("PATH_INFO")):
        return None

    def reply() -> Reply | None:
        came = as_it_came(environ)
        if not app.exposes_to(came):
            return None
        cancel()
        return reply_to(came, app.exposed(came))

    return app.boundary.run(_FAILING, reply, None)


def as_it_came(environ: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an environ without the name of a unix peer. A peer chooses its own name, which may
    read like an address."""
    # the second name is gevent_pywsgi's
    sock = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")
    is_unix = sock is not None and sock.family == socket.AF_UNIX
    # tornado calls a unix peer 0.0.0.0, an address that no TCP peer has
    if not is_unix and environ.get("REMOTE_ADDR") != "0.0.0.0":
        return environ
    return {**environ, "REMOTE_ADDR": ""}


# ASGI.


def asgi(application: ASGIApplication, app: StatusApp | None) -> ASGIApplication:
    """Return an ASGI application that answers the status itself.

    Args:
        application: gets every other request, and every scope of another type.
        app: makes the answers; None: `application` is returned as it is.
    """
    if app is None:
        return application

    def exposed(scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        try:
            messages = answer_asgi(app, scope) if scope["type"] == "http" else None
        except Exception:  # there was no memory to call the boundary with
            messages = None
        if messages is None:
            return application(scope, receive, send)
        return send_all(messages, send)

    return exposed


Messages = tuple[MutableMapping[str, Any], MutableMapping[str, Any]]
"""What an ASGI application sends as a response: its start and its body."""


def answer_asgi(app: StatusApp, scope: Scope) -> Messages | None:
    """Return the status's response to an HTTP request; None if it is the application's. It is, too,
    if that cannot be told."""
    if not app.serves(_path(scope)):
        return None

    def messages() -> Messages | None:
        environ = _environ(scope)
        return _response(scope, app.exposed(environ)) if app.exposes_to(environ) else None

    return app.boundary.run(_FAILING, messages, None)


def _response(scope: Scope, answer: Answer) -> Messages:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.all_headers()
    ]
    body = b"" if scope["method"] == "HEAD" else answer.body
    return (
        {"type": "http.response.start", "status": answer.status, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


async def send_all(messages: Messages, send: Send) -> None:
    """Send a response."""
    for message in messages:
        await send(message)


def _environ(scope: Scope) -> dict[str, Any]:
    """Return what the status asks of a WSGI environ."""
    client = scope.get("client")
    return {
        "REQUEST_METHOD": scope["method"],
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "PATH_INFO": _path(scope),
        # a unix peer's name is no address: some servers give bytes, or split it into letters
        "REMOTE_ADDR": str(client[0]) if client else "",
        **{
            "HTTP_" + name.decode("latin-1").upper().replace("-", "_"): value.decode("latin-1")
            for name, value in scope["headers"]
        },
    }


def _path(scope: Scope) -> str:
    """Return the path below where the application is mounted, which WSGI calls PATH_INFO."""
    whole, root = str(scope["path"]), str(scope.get("root_path") or "").rstrip("/")
    return whole.removeprefix(root) if whole.startswith(root + "/") else whole
