"""The kernel's sock_diag: the native reader, and the requests for it.

One call of `_native/inet_diag.c` sends the requests, receives all replies and fills a table with a
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
from struct import Struct, pack
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self

_NETLINK_SOCK_DIAG = 4  # linux/netlink.h
_ROW = Struct("=4Q2IH2B108s")  # struct grd_listener

_SKMEMINFO = 1 << 6  # INET_DIAG_SKMEMINFO - 1, linux/inet_diag.h
_BYTECODE = 1  # INET_DIAG_REQ_BYTECODE, likewise
_SS_ESTABLISHED, _SS_LISTEN = 1, 10  # net/tcp_states.h; unix sockets use them as well
_SHOW_NAME, _SHOW_VFS, _SHOW_RQLEN = 0x01, 0x02, 0x10  # UDIAG_SHOW_*, linux/unix_diag.h
_SOCK_DIAG_BY_FAMILY = 20  # linux/sock_diag.h
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP, linux/netlink.h
_HEADER, _ATTRIBUTE = Struct("=IHHII"), Struct("=HH")
_INET_REQUEST, _UNIX_REQUEST = Struct("=BBBxI2s46x"), Struct("=BxxxI4xI8x")
_JMP, _S_GE = 1, 2  # INET_DIAG_BC_*, linux/inet_diag.h
_LONGEST = 0xFFFF - 4  # a jump is 16 bits wide, and may go four bytes beyond the end

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
    """Import what reading needs, and return it; None where it is not there. To be called before a
    thread runs that must not import: a later call executes no import."""
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


# What is asked.


@lru_cache(maxsize=16)  # with thousands of ports in its filter one has 60 kB
def tcp_request(family: int, listening: bool, ports: frozenset[int]) -> bytes:
    """struct inet_diag_req_v2 (linux/inet_diag.h), which ends in an attribute if it needs one."""
    port = next(iter(ports)) if len(ports) == 1 else 0
    return _message(
        _INET_REQUEST.pack(
            family,
            _socket.IPPROTO_TCP,
            _SKMEMINFO if listening else 0,
            1 << (_SS_LISTEN if listening else _SS_ESTABLISHED),
            port.to_bytes(2, "big"),
        )
        # Not for those that listen: checking it takes the kernel longer than a few more rows.
        + _filter(b"" if listening or port else _port_filter(ports))
    )


def _filter(code: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(code), _BYTECODE) + code if code else b""


@lru_cache(maxsize=2)
def unix_request(listening: bool) -> bytes:
    """struct unix_diag_req (linux/unix_diag.h)."""
    show = _SHOW_NAME | _SHOW_VFS | (_SHOW_RQLEN if listening else 0)
    states = 1 << (_SS_LISTEN if listening else _SS_ESTABLISHED)
    return _message(_UNIX_REQUEST.pack(_socket.AF_UNIX, states, show))


def _message(body: bytes) -> bytes:
    """Put struct nlmsghdr (linux/netlink.h) before a request; the native side numbers it."""
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _DUMP, 0, 0) + body


def _port_filter(ports: frozenset[int]) -> bytes:
    """Return inet_diag bytecode that lets through sockets with these source ports alone.

    The kernel runs it for each of its sockets, so it is a binary search, not a list. All jumps
    go forward, as the kernel demands. Too many ports for its 16-bit jumps: none, which lets all
    through.
    """
    inside = sorted(ports)
    edges = [p for p in inside if p - 1 not in ports]
    edges += [p + 1 for p in inside if p + 1 not in ports and p < 65535]
    edges.sort()
    size = 12 * len(edges) + 4
    return _search(edges, 0, size) if size <= _LONGEST else b""


def _search(edges: list[int], below: int, left: int) -> bytes:
    """Return the search of `edges`, before which stand `below` others; `left` bytes to the end.

    A port is one of ours when an odd number of edges is not above it. Jumping to the end means
    yes, and four bytes beyond it no (inet_diag_bc_run in net/ipv4/inet_diag.c).
    """
    if not edges:
        return pack("BBH", _JMP, 4, left if below % 2 else left + 4)
    middle = len(edges) // 2
    upper = _search(edges[middle + 1 :], below + middle + 1, left - 8)
    lower = _search(edges[:middle], below, left - 8 - len(upper))
    test = pack("BBHBBH", _S_GE, 8, 8 + len(upper), 0, 0, edges[middle])
    return test + upper + lower
