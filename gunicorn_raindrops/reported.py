"""The listeners that a snapshot reports, with what the kernel tells about them.

Each listener's queue is read anew for each snapshot, and so are its drops: they are totals, and
readers who ask several workers in turn must never see one go back. Counting the accepted
connections of a busy listener, and those with unread bytes, costs the kernel milliseconds. These
gauges therefore serve all readers for ten times as long as the count took, up to a tenth of a
second.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from typing import Any

from . import listeners as kernel
from .listeners import InetDiagSocket, ListenStats, addresses, tcp_info
from .snapshot import Listener

ACTIVE_AGE = 0.1  # seconds at most that a count of connections is good for
ACTIVE_SHARE = 10  # and times as long as it took
MARKING_SHARE = 100  # times as long as it took, at least, until it is counted for a mark alone

FAMILIES: dict[int, str] = {
    socket.AF_INET: "inet",
    socket.AF_INET6: "inet6",
    socket.AF_UNIX: "unix",
}

UNKNOWN = ListenStats(None, None, None, None)


class Listeners:
    """The listeners to report: the server's own, then the others, each once."""

    def __init__(
        self,
        sockets: list[Any],
        others: tuple[str, ...],
        warn: Callable[[str], None],
        diag: InetDiagSocket | None,
    ) -> None:
        self._diag = diag
        self._own = {addresses.name_of(sock.family, sock.getsockname()): sock for sock in sockets}
        names = dict.fromkeys((*self._own, *others))
        self._families = {name: addresses.family_of(name) for name in names}
        # a relative path of a unix socket may read like an address
        self._families |= {name: sock.family for name, sock in self._own.items()}
        self._warn = warn
        self._counted: dict[str, ListenStats] = {}
        self._counted_until = self.rested_at = 0.0

    def read(self) -> tuple[Listener, ...]:
        """Read their figures from the kernel."""
        if not self._families:
            return ()
        began = time.monotonic()
        count = began >= self._counted_until
        stats = self._ask(list(self._families), count)
        if count:
            self._counted = stats
            now = time.monotonic()
            self._counted_until = now + min(ACTIVE_AGE, ACTIVE_SHARE * (now - began))
            self.rested_at = now + MARKING_SHARE * (now - began)
        return tuple(self._listener(name, stats[name]) for name in self._families)

    def queued(self) -> int:
        """Read the queues of the server's own listeners alone, and return their sum."""
        return sum(stat.queued or 0 for stat in self._ask(list(self._own), False).values())

    def _listener(self, name: str, stat: ListenStats) -> Listener:
        counted = self._counted.get(name, UNKNOWN)
        return Listener(
            address=name,
            family=FAMILIES[self._families[name]],
            own=name in self._own,
            active=counted.active,
            queued=stat.queued,
            waiting=counted.waiting,
            bodies=counted.bodies,
            backlog=stat.backlog,
            dropped=None if self._defers(name) else stat.dropped,
        )

    def _defers(self, name: str) -> bool:
        """Tell whether a listener of the server's own has TCP_DEFER_ACCEPT. The kernel then puts
        the last packet of each handshake off, and counts that as a drop."""
        try:
            return tcp_info.defers_accept(self._descriptor(name))
        except OSError:  # not ours, closed, or no TCP
            return False

    def _ask(self, names: list[str], count: bool) -> dict[str, ListenStats]:
        unix = [name for name in names if self._families[name] == socket.AF_UNIX]
        inet = [name for name in names if self._families[name] != socket.AF_UNIX]
        return {
            **self._ask_kernel(kernel.tcp_listener_stats, inet, count),
            **self._ask_kernel(kernel.unix_listener_stats, unix, count),
        }

    def _ask_kernel(
        self, stats: Callable[..., dict[str, ListenStats]], names: list[str], count: bool
    ) -> dict[str, ListenStats]:
        if not names:
            return {}
        try:
            return stats(names, self._diag, active=count)
        except Exception as error:  # whatever it is, the rest of the status must be answered
            self._warn(f"listeners cannot be read from the kernel: {error}")
            return {name: self._from_descriptor(name) for name in names}

    def _from_descriptor(self, name: str) -> ListenStats:
        """Return what a listener's own descriptor tells without netlink."""
        try:
            return kernel.descriptor_stats(self._descriptor(name))
        except OSError:
            return UNKNOWN

    def _descriptor(self, name: str) -> int:
        """Return the descriptor of a listener of the server's own.

        Raises:
            OSError: it is none, or is closed: gunicorn's wrapper of a socket has no socket then.
        """
        try:
            descriptor: int = self._own[name].fileno()
        except (KeyError, AttributeError):
            raise OSError(errno.EBADF, "no listener of this process") from None
        return descriptor
