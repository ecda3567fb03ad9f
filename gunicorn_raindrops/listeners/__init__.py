"""Listeners as the kernel sees them: accept queues, their limits, what waits in them and beyond.

The figures come from the kernel's sock_diag over netlink (sock_diag(7)). pyroute2 composes the
requests, once. `_native/netlink.c` reads the replies, and `inet_diag.c` the rows in them, without
the GIL: there is a row for each connection, which takes pyroute2 38 µs, too many for a busy server.
The native reader only counts accepted connections, each for its listener, so it returns a row for
each listener.

Every reading asks first for the sockets in state LISTEN, which takes some tenths of a millisecond
however many connections there are. Only for `active` it then asks for the established connections;
the kernel filters the other ports out.

Nothing here locks, logs or touches a class that gevent or eventlet could have patched, so a plain
thread may read. An `InetDiagSocket` is for one thread at a time. Fork changes nothing: only the
composed requests are kept.
"""

from __future__ import annotations

import _socket
import errno
from collections.abc import Iterable
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from . import addresses, queries, sock_diag, tcp_info
from . import unix as unix_names
from .addresses import Key
from .sock_diag import InetDiagSocket, Row

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "InetDiagSocket",
    "ListenStats",
    "descriptor_stats",
    "tcp_listener_stats",
    "unix_listener_stats",
]

_UNKNOWN = unix_names.UNKNOWN
_of_unix = attrgetter(*unix_names.Listener._fields[1:])

# What a kernel or a sandbox without unix_diag answers.
_NO_DIAG = {errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENOSYS}
_NO_DIAG |= {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


class _Figures(NamedTuple):
    active: int | None
    queued: int | None
    backlog: int | None
    dropped: int | None


class ListenStats(_Figures):
    """What one listening address has; None stands for what could not be known.

    Attributes:
        active: connections accepted and still established.
        queued: connections complete, but waiting to be accepted.
        backlog: how many may wait (listen(2), net.core.somaxconn); with SO_REUSEPORT the sum.
        dropped: packets dropped since the listener began because its queue was full; clients
            that try again are counted again. Never known of unix sockets, which are told EAGAIN.
            With TCP_DEFER_ACCEPT each handshake that the kernel puts off is one as well.
        waiting: those of active whose peer has sent what nobody has read yet. No item of the
            tuple. An upload whose server is slower than the client is one of them, too.
        bodies: those of waiting with more than 8 KiB unread, which is more than the head of a
            request. No item of the tuple either.
    """

    waiting: int | None = None
    bodies: int | None = None

    def __new__(
        cls,
        active: int | None,
        queued: int | None,
        backlog: int | None,
        dropped: int | None,
        *,
        waiting: int | None = None,
        bodies: int | None = None,
    ) -> Self:
        """Keep `waiting` and `bodies` beside the tuple."""
        self = super().__new__(cls, active, queued, backlog, dropped)
        self.waiting, self.bodies = waiting, bodies
        return self

    @property
    def total(self) -> int | None:
        """Return active + queued."""
        if self.active is None or self.queued is None:
            return None
        return self.active + self.queued


def tcp_listener_stats(
    addrs: str | Iterable[str] | None = None,
    sock: InetDiagSocket | None = None,
    *,
    active: bool = True,
) -> dict[str, ListenStats]:
    """Read the TCP listeners of this network namespace.

    An accepted connection belongs to the listener of its exact address, else to the wildcard of
    its port and family; what `[::]:80` accepts from IPv4 is its own, not that of `0.0.0.0:80`.

    Args:
        addrs: addresses like `127.0.0.1:80` or `[::]:80`; None for every listener there is.
        sock: a socket to ask through, else a new one is opened.
        active: False leaves connections uncounted (`active` and `waiting` are None), which takes
            a fraction of the time when there are many.

    Returns:
        The addresses as asked for, zeros for one that nobody listens on.

    Raises:
        ValueError: an address is malformed.
        TypeError: an address is not a string.
        OSError: the kernel's own error, or ENOSYS on other systems.
    """
    wanted = _names(addrs)
    if wanted is None:
        found = sock_diag.read(sock, _tcp_listening(), _all_active if active else None)
        return {addresses.tcp_text(key): one for key, one in _tcp(found, active).items()}
    if not wanted:
        return {}
    keys, requests = _tcp_plan(wanted, active)
    stats = _tcp(sock_diag.read(sock, requests), active)
    counted = 0 if active else None
    nobody = ListenStats(counted, 0, 0, 0, waiting=counted, bodies=counted)
    return {address: stats.get(key, nobody) for address, key in zip(wanted, keys, strict=True)}


def unix_listener_stats(
    paths: str | Iterable[str] | None = None,
    sock: InetDiagSocket | None = None,
    *,
    active: bool = True,
) -> dict[str, ListenStats]:
    """Read the unix stream listeners of this network namespace.

    Args:
        paths: paths, or `@name` for abstract names; None for every listener there is. Names that
            are not UTF-8 have surrogate escapes, as everywhere in `os`.
        sock: a socket to ask through, else a new one is opened.
        active: False leaves connections uncounted.

    Returns:
        The paths as asked for and, where they are symbolic links, what they point to; zeros for
        one that nobody listens on. Without unix_diag `backlog` is None.

    Raises:
        ValueError: a path is empty or has a NUL in it.
        TypeError: a path is not a string.
        OSError: neither unix_diag nor /proc/net/unix can be read.
    """
    wanted = _names(paths)
    for path in wanted or ():
        addresses.check_unix(path)
    if wanted is not None and not wanted:
        return {}
    groups = unix_names.by_name(_unix(sock, active))
    if wanted is None:
        return {name: _sum(group, active) for name, group in unix_names.listing(groups)}
    return {
        name: _sum(unix_names.reachable(name, groups), active)
        for path in wanted
        for name in unix_names.links(path)
    }


def descriptor_stats(sock: Any) -> ListenStats:
    """Read a listener from its own socket: no netlink, a few microseconds, but no `active`.

    Args:
        sock: a listening socket object or descriptor.

    Returns:
        TCP's queued, backlog and dropped; nothing can be known of a unix socket in this way.

    Raises:
        OSError: EINVAL if it does not listen, or the kernel's own error.
    """
    if isinstance(sock, int):
        return tcp_info.borrow(sock, descriptor_stats)
    if not sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
        raise OSError(errno.EINVAL, "not a listening socket")
    if sock.family == _socket.AF_UNIX:
        return ListenStats(None, None, None, None)
    queued, backlog = tcp_info.accept_queue(sock)
    return ListenStats(None, queued, backlog, tcp_info.dropped(sock))


# What is asked.


def _names(names: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if names is None or isinstance(names, tuple):
        return names
    if isinstance(names, str):
        return (names,)
    if isinstance(names, (bytes, bytearray)):
        raise TypeError(f"expected a string or strings, not {type(names).__name__}")
    return tuple(names)


@lru_cache(maxsize=16)
def _tcp_plan(wanted: tuple[str, ...], active: bool) -> tuple[tuple[Key, ...], bytes]:
    keys = tuple(map(addresses.parse_tcp, wanted))
    ports: dict[int, set[int]] = {}
    for family, port, _ in keys:
        ports.setdefault(family, set()).add(port)
    asked = {family: frozenset(of_family) for family, of_family in ports.items()}
    return keys, _tcp_listening(asked) + (_tcp_active(asked) if active else b"")


def _tcp_listening(asked: dict[int, frozenset[int]] | None = None) -> bytes:
    if asked is None:
        asked = dict.fromkeys((_socket.AF_INET, _socket.AF_INET6), frozenset())
    return b"".join(queries.tcp(family, True, ports) for family, ports in asked.items())


def _tcp_active(asked: dict[int, frozenset[int]]) -> bytes:
    return b"".join(queries.tcp(family, False, ports) for family, ports in asked.items())


def _all_active(rows: list[Row]) -> bytes:
    asked: dict[int, set[int]] = {}
    for row in rows:
        asked.setdefault(row.family, set()).add(row.port)
    return _tcp_active({family: frozenset(ports) for family, ports in asked.items()})


# What the rows mean.


def _known(figure: int) -> int | None:
    return None if figure == _UNKNOWN else figure


def _tcp(rows: list[Row], active: bool) -> dict[Key, ListenStats]:
    return {
        (row.family, row.port, row.name[: row.length]): ListenStats(
            row.active if active else None,
            row.queued,
            row.backlog,
            _known(row.dropped),
            waiting=row.waiting if active else None,
            bodies=row.bodies if active else None,
        )
        for row in rows
    }


def _unix(sock: InetDiagSocket | None, active: bool) -> list[unix_names.Listener]:
    try:
        requests = queries.unix(True) + (queries.unix(False) if active else b"")
        rows = sock_diag.read(sock, requests)
    except OSError as error:
        if error.errno not in _NO_DIAG:
            raise
        return unix_names.proc_net_unix()
    return [unix_names.Listener(row.name[: row.length], *_of_unix(row)) for row in rows]


def _sum(listeners: list[unix_names.Listener], active: bool) -> ListenStats:
    queued = _total(one.queued for one in listeners)
    backlog = _total(one.backlog for one in listeners)
    if not active:
        return ListenStats(None, queued, backlog, None)
    return ListenStats(
        _total(one.active for one in listeners),
        queued,
        backlog,
        None,
        waiting=_total(one.waiting for one in listeners),
        bodies=_total(one.bodies for one in listeners),
    )


def _total(figures: Iterable[int]) -> int | None:
    known = list(figures)
    return None if _UNKNOWN in known else sum(known)
