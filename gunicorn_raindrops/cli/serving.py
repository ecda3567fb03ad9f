"""The standard library's WSGI server, with a thread for each connection."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from ..settings import Settings
from ..status.access import Access, Sender
from ..watcher.answers import text
from .terminal import complain

CLIENT_SECONDS = 30
"""How long a client may take to send more of its request, or to take more of a response."""
LINGER_SECONDS = 2
_LINGERING_READS = 16


_UNKNOWN_HOST = text(421, "unknown Host: ask for an IP address, localhost or the one in --listen\n")


def checked(application: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    """Return an application that refuses requests whose Host is an unknown name."""
    access = Access(settings)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if access.knows_host(Sender(environ.get("HTTP_HOST"))):
            found: Iterable[bytes] = application(environ, start_response)
            return found
        start_response(_UNKNOWN_HOST.status_line, _UNKNOWN_HOST.all_headers())
        return _UNKNOWN_HOST.body

    return answer


class Server(ThreadingMixIn, WSGIServer):
    """Serves an application on a listening socket, which stays its owner's."""

    daemon_threads = True

    def __init__(self, listening: Any, application: Callable[..., Any]) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=os.dup(listening.fileno()))
        name = listening.getsockname()
        self.server_name, self.server_port = name[:2] if isinstance(name, tuple) else ("", 0)
        self.setup_environ()
        self.set_app(application)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        return connection, peer if isinstance(peer, tuple) else ("", 0)  # a unix one

    def shutdown_request(self, request: Any) -> None:
        """Read on to the client's end: closing on unread bytes, such as a form's, would reset the
        connection, and the client might lose the answer (RFC 9112, section 9.6)."""
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            request.settimeout(LINGER_SECONDS)
            for _ in range(_LINGERING_READS):
                if not request.recv(4096):
                    break
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what was wrong, unless it was the client's connection."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            complain(f"{type(error).__name__}: {error}")


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_SECONDS

    def setup(self) -> None:
        super().setup()
        self.wfile = _Writer(self.connection)

    def get_environ(self) -> dict[str, Any]:
        # where gunicorn puts it, and the Watcher looks for it
        return {**super().get_environ(), "gunicorn.socket": self.connection}

    def log_message(self, format: str, *args: Any) -> None:
        """Log no requests."""


class _Writer(io.BufferedIOBase):
    """Writes to a client. One that takes nothing any more counts as gone, which wsgiref expects of
    a client; a TimeoutError would be an error of the application's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise ConnectionAbortedError("the client takes nothing") from None
        return len(data)
