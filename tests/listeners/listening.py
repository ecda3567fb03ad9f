"""Real TCP listeners on the loopback for the tests of listener figures."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def settled(read: Callable[[], T], expected: T) -> T:
    """Read until it is as expected: the kernel finishes a handshake after connect() returned."""
    deadline = time.monotonic() + 5
    while (got := read()) != expected and time.monotonic() < deadline:
        os.sched_yield()
    return got


def address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if sock.family == socket.AF_INET6 else f"{host}:{port}"


class Lab(contextlib.ExitStack):
    """Sockets that are gone when the test is."""

    def listen(
        self, host: str = "127.0.0.1", *, port: int = 0, backlog: int = 16, reuse: bool = False
    ) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = self.enter_context(socket.socket(family))
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if reuse:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        return sock

    def connect(self, host: str, port: int) -> socket.socket:
        return self.enter_context(socket.create_connection((host, port), timeout=5))

    def accept(self, listener: socket.socket) -> socket.socket:
        listener.settimeout(5)
        return self.enter_context(listener.accept()[0])


def port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])
