"""Reading the kernel's sock_diag.

One call of `_native/netlink.c` sends the requests, receives all replies and fills a table with a
row for each listener. Python allocates and owns the table. The GIL is free meanwhile. Everything
that can go wrong comes back as an errno.
"""

from __future__ import annotations

import _socket
import errno
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self

_NETLINK_SOCK_DIAG = 4  # linux/netlink.h
_ROW = Struct("=4Q2IH2B108s2Q")  # struct grd_listener

_ROOM = 256  # rows, a power of two; as many for IPv4 as for IPv6, foreign ones among them
_MOST_ROOM = _ROOM << 12
_TRIES = 5

# A call numbers its requests from here on; it has fewer than 16.
_sequence = count(0, 16)


class Row(NamedTuple):
    """One listening address: `struct grd_listener`."""

    active: int
    queued: int
    backlog: int
    dropped: int
    inode: int
    device: int
    port: int
    family: int
    length: int
    name: bytes
    waiting: int = 0
    bodies: int = 0


class InetDiagSocket:
    """A netlink socket for sock_diag(7), to be kept when readings are frequent.

    It is for one thread of one process at a time: two dumps at once, and the kernel answers EBUSY.
    Its network namespace is the one it was opened in.

    Raises:
        OSError: this system has no netlink (ENOSYS), or refuses it.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise _linux_only()
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._sock = _socket.socket(_socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the descriptor; closing it again does nothing."""
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _linux_only() -> OSError:
    return OSError(
        errno.ENOSYS, "the figures of listeners are Linux-only, and this build is without them"
    )


def _native() -> Any:
    native = load()
    if native is None:
        raise _linux_only()
    return native


@lru_cache(maxsize=1)
def load() -> Any:
    """Import the native half that reads without the GIL, and return it; None where it is not
    there. To be called before a thread runs that must not import: a later call executes no
    import."""
    try:
        from .._native import _diag
    except ImportError:
        return None
    return _diag


def read(
    sock: InetDiagSocket | None, requests: bytes, follow: Callable[[list[Row]], bytes] | None = None
) -> list[Row]:
    """Send `requests` and return a row for each listener in the replies.

    Args:
        sock: the socket to ask through; None for a new one.
        requests: netlink messages, those for listening sockets before those for connections.
        follow: makes further requests of the listeners found.

    Raises:
        OSError: what the kernel answered; EAGAIN if its table kept changing during the dump.
    """
    if sock is not None:
        return _read(sock.fileno(), requests, follow)
    with InetDiagSocket() as own:
        return _read(own.fileno(), requests, follow)


def _read(fd: int, requests: bytes, follow: Callable[[list[Row]], bytes] | None) -> list[Row]:
    room, tries = _ROOM, 0
    while tries < _TRIES and room <= _MOST_ROOM:
        table = _Table(room)
        code = table.dump(fd, requests)
        if follow and not code and (more := follow(table.rows())):
            code = table.dump(fd, more)
        if not code:
            return table.rows()
        if code == -errno.ENOSPC:
            room *= 8
        elif code < 0:
            raise OSError(-code, f"sock_diag: {os.strerror(-code)}")
        else:
            tries += 1
    raise OSError(errno.EAGAIN, "sock_diag: interrupted again and again")


class _Table:
    """A `struct grd_table` and the memory it points to."""

    def __init__(self, room: int) -> None:
        self._ffi, self._lib = (native := _native()).ffi, native.lib
        self._rows = self._ffi.new("struct grd_listener[]", room)
        self._index = self._ffi.new("uint32_t[]", 2 * room)
        self._table = self._ffi.new("struct grd_table *")
        self._table.rows, self._table.index, self._table.room = self._rows, self._index, room

    def dump(self, fd: int, requests: bytes) -> int:
        sequence = next(_sequence) & 0xFFFFFFFF
        result: int = self._lib.grd_dump(fd, requests, len(requests), sequence, self._table)
        return result

    def rows(self) -> list[Row]:
        used = self._ffi.buffer(self._rows, self._table.count * _ROW.size)
        return list(map(Row._make, _ROW.iter_unpack(used)))
