"""Figures pushed to statsd, for servers that nobody scrapes: `Pusher`.

Who owns what. Each worker has a pusher, and the leader pushes, once a second: the worker with the
lowest slot of all that serve. So one worker sends at a time, in all generations of a server, and no
message passes between them. When it is killed, the next one finds within a second that it leads.

Nothing here waits. Names are resolved when the pusher is made, where a worker may take its time.
What does not fit into the socket's buffer is lost, as datagrams are. The socket is the
interpreter's, whatever gevent or eventlet have patched, and regular expressions are compiled before
the thread runs.
"""

from __future__ import annotations

import _socket
import re
from collections.abc import Callable, Iterator
from typing import Any

from ..snapshot import Snapshot

Target = str | tuple[str, int]
"""As gunicorn's `statsd_host` has it: the path of a unix socket, or host and port."""

# The grammar's own are : | @ # and the newline; the dot makes a level of graphite's tree.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_./:-]")


class Pusher:
    """Sends gauges to statsd, a datagram each, as gunicorn does.

    Args:
        target: where statsd listens.
        prefix: what names begin with; a dot follows it.
        tags: dogstatsd's, separated by commas; with any, listeners are told apart by a tag.
        warn: called with a line, once, when something fails.
    """

    def __init__(self, target: Target, prefix: str, tags: str, warn: Callable[[str], None]) -> None:
        self._warn: Callable[[str], None] | None = warn
        self._prefix = prefix.rstrip(".") and prefix.rstrip(".") + "."
        self._tags = tags
        self._target = target
        self._socket: Any = None
        self._address: tuple[int, Any] | None = None
        try:
            self._address = _resolve(target)
        except Exception as error:  # gunicorn accepts settings that are no addresses
            self._fail(error)

    def push(self, take: Callable[[], Snapshot]) -> None:
        """Send the gauges of a new snapshot, which `take` returns."""
        if self._address is None:
            return
        try:
            if self._socket is None:
                self._socket = _connect(*self._address)
            for line in self.lines(take()):
                self._socket.send(line.encode())
        except Exception as error:  # whatever it is, the status thread goes on
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Warn once; the next push begins with a new socket, for a statsd that is back."""
        self.close()
        if self._warn is not None:
            self._warn(f"statsd: {_shown(self._target)}: {error}; what does not get there is lost")
            self._warn = None

    def close(self) -> None:
        """Close the socket; a later push makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def lines(self, snapshot: Snapshot) -> Iterator[str]:
        """Yield the datagrams of a snapshot, a line here for each figure. A figure that is not
        known is left out."""
        workers = snapshot.workers or ()
        busy = sum(worker.state in ("reading", "calling", "writing") for worker in workers)
        yield self._gauge("busy_workers", busy)
        yield self._gauge("total_workers", len(workers) + (snapshot.untracked or 0))
        yield self._gauge("requests.in_flight", snapshot.calling + snapshot.writing)
        if snapshot.waiting is not None:
            yield self._gauge("requests.waiting", snapshot.waiting)
        if snapshot.saturation is not None:
            yield self._gauge("saturation", round(snapshot.saturation, 4))
        for listener in snapshot.listeners:
            if listener.queued is not None:
                yield self._queued(listener.address, listener.queued)

    def _queued(self, address: str, queued: int) -> str:
        if self._tags:
            tag = "listener:" + _NOT_IN_TAGS.sub("_", address)
            return self._gauge("listener.queued", queued, f"{self._tags},{tag}")
        return self._gauge("listener.queued." + _NOT_IN_NAMES.sub("_", address), queued)

    def _gauge(self, name: str, value: float, tags: str | None = None) -> str:
        tags = tags or self._tags
        return f"{self._prefix}gunicorn.{name}:{value}|g" + (f"|#{tags}" if tags else "")


def _resolve(target: Target) -> tuple[int, Any]:
    """Return a socket family and the address in it."""
    if isinstance(target, str):
        return _socket.AF_UNIX, target
    found = _socket.getaddrinfo(*target, 0, _socket.SOCK_DGRAM)
    # the name's IPv4 address, where it has one: that is the one gunicorn sends to
    family, _, _, _, address = min(found, key=lambda one: one[0] != _socket.AF_INET)
    return family, address


def _connect(family: int, address: Any) -> Any:
    sock = _socket.socket(family, _socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _shown(target: object) -> str:
    return f"{target[0]}:{target[1]}" if isinstance(target, tuple) else str(target)
