"""Real TCP listeners on the loopback for the tests of listener figures."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import TypeVar

from ..bounds import WAIT

T = TypeVar("T")


def settled(read: Callable[[], T], expected: T) -> T:
    """Read until it is as expected: the kernel finishes a handshake after connect() returned."""
    deadline = time.monotonic() + WAIT
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
        return self.enter_context(socket.create_connection((host, port), timeout=WAIT))

    def accept(self, listener: socket.socket) -> socket.socket:
        listener.settimeout(WAIT)
        return self.enter_context(listener.accept()[0])


def port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h


def enter_own_network() -> None:
    """Move this process into a network namespace of its own, which has a loopback and nothing else.

    The kernel's counters start at zero there, and no other process listens or connects. Root may
    do so; others may where the kernel lets them make a user namespace.

    Raises:
        PermissionError: neither is allowed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise PermissionError(ctypes.get_errno(), "no network namespace")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("=16sh14x", b"lo", IFF_UP))
