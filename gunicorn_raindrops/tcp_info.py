"""What the kernel knows about one TCP socket: TCPInfo, the struct tcp_info of linux/tcp.h."""

from __future__ import annotations

import _socket
import errno
import os
import sys
from collections.abc import Callable
from struct import Struct
from typing import Any, TypeVar

_T = TypeVar("_T")

_LARGEST = 1024  # more than any kernel's struct tcp_info
_STATE, _QUEUE = 0, Struct("=24xII")  # tcpi_state; tcpi_unacked, tcpi_sacked
_TCP_LISTEN = 10  # net/tcp_states.h


def borrow(fd: int, use: Callable[[Any], _T]) -> _T:
    """Call `use` with a plain socket object of a descriptor that stays its owner's."""
    sock = _socket.socket(fileno=fd)
    try:
        return use(sock)
    finally:
        sock.detach()


def read(sock: Any) -> bytes:
    """Return a socket's struct tcp_info, as long as this kernel has it.

    Raises:
        OSError: it is no TCP socket, or this system is not Linux (ENOSYS).
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "TCP_INFO is Linux-only")
    if isinstance(sock, int):
        return borrow(sock, read)
    raw: bytes = sock.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, _LARGEST)
    return raw


def accept_queue(sock: Any) -> tuple[int, int]:
    """Return the length and the limit of a listener's accept queue.

    A listening socket has them in the places of unacked and sacked (tcp_get_info in
    net/ipv4/tcp.c).
    """
    raw = read(sock)
    if raw[_STATE] != _TCP_LISTEN:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return _QUEUE.unpack_from(raw)
