"""The status on the application's own listeners: what stands around a WSGI or ASGI application.

A request that is not for the status costs one look-up here and goes on to the application
untouched. So does one whose peer may not read the status: it must not learn that there is one.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from .app import Answer, StatusApp

_log = logging.getLogger("gunicorn_raindrops")

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
        if not exposes_to(app, environ):
            return application(environ, start_response)
        cancel()
        return respond_wsgi(app.exposed(environ), environ, start_response)

    return exposed


def exposes_to(app: StatusApp, environ: Mapping[str, Any]) -> bool:
    """Tell whether a WSGI request is for the status, and its peer may read it."""
    return app.serves(environ.get("PATH_INFO")) and app.exposes_to(as_it_came(environ))


def respond_wsgi(answer: Answer, environ: Mapping[str, Any], start_response: Any) -> list[bytes]:
    """Send an answer's head, and return its body."""
    start_response(answer.status_line, answer.all_headers())
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]


def as_it_came(environ: Any) -> Any:
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
        if scope["type"] == "http" and (answer := answer_asgi(app, scope)) is not None:
            return respond_asgi(answer, scope, send)
        return application(scope, receive, send)

    return exposed


def answer_asgi(app: StatusApp, scope: Scope) -> Answer | None:
    """Return the status's answer to an HTTP request; None if it is the application's."""
    if not app.serves(_path(scope)):
        return None
    environ = _environ(scope)
    return app.exposed(environ) if app.exposes_to(environ) else None


async def respond_asgi(answer: Answer, scope: Scope, send: Send) -> None:
    """Send an answer."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.all_headers()
    ]
    body = b"" if scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
