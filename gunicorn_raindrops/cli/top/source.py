"""Where the figures come from: a server's URL, or its memory. Either gives the JSON document."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ...exporters.json import as_dict
from ...scoreboard.liveness import lives
from .. import find, proc, which
from ..server import Server
from ..terminal import Failed
from .sample import Status

_KEPT = 10.0  # seconds for which listeners are not looked for again
_SAME = 1.0  # seconds between starts of one process, as two readings tell it


class Ended(Failed):
    """The server has ended, and will not come back under this name."""


class News(NamedTuple):
    """A status; a line about what it cannot tell, if there is such a thing."""

    status: Status
    note: str = ""


class Source(Protocol):
    """A server that can be asked again and again."""

    name: str

    def read(self) -> News:
        """Return its status.

        Raises:
            Failed: it does not answer now.
            Ended: it will not any more.
        """


class ByUrl:
    """A server that is asked at its URL, which another one may have after it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.name: str = args.url.name
        self._args = args
        self._token = which.token(args)

    def read(self) -> News:
        """Return its status."""
        return News(which.fetch(self._args, self._token))


class ByPid:
    """A server whose memory is read. Its arbiter may change in an upgrade."""

    def __init__(self, server: Server) -> None:
        self._stack = contextlib.ExitStack()
        self._notes: list[str] = []
        self._use(server)

    def _use(self, server: Server) -> None:
        self._server = server
        self._pid = server.pids[0]
        self._started = proc.started(self._pid)
        self._renewed_until = 0.0
        self.name = which.processes(server)

    def read(self) -> News:
        """Return its status."""
        try:
            if not self._runs():
                self._follow()
            if time.monotonic() >= self._renewed_until:
                self._renew()
            snapshot = self._sampler.take()
        except OSError as error:
            self._renewed_until = 0.0
            raise Failed(f"{self.name}: {error}") from None
        if self._notes or not snapshot.listeners:  # it may be better the next time
            self._renewed_until = 0.0
        return News(as_dict(snapshot), "; ".join(self._notes))

    def _renew(self) -> None:
        """Find the listeners, and a socket to ask for them."""
        self._stack.close()
        self._notes.clear()
        self._sampler = self._stack.enter_context(self._server.sampler(self._notes.append))
        self._renewed_until = time.monotonic() + _KEPT

    def _runs(self) -> bool:
        """Tell whether it is the process that it was: a pid is used again."""
        started = proc.started(self._pid)
        if started is None or self._started is None:
            return lives(self._pid)
        return lives(self._pid) and abs(started - self._started) < _SAME

    def _follow(self) -> None:
        """Find the arbiter that an upgrade has left, or another process without one."""
        for pid in (*self._server.pids[1:], *self._server.board.arbiters()):
            if pid != self._pid and lives(pid):
                with contextlib.suppress(Failed):
                    self._use(find.of(pid))
                    return
        raise Ended("the server has ended")


def of(args: argparse.Namespace, choose: Callable[[list[Server]], Server]) -> Source:
    """Return what the arguments name.

    Args:
        args: of `which.add_arguments`.
        choose: called with the servers that there are, if none was named.

    Raises:
        Failed: it is not there.
    """
    if args.url is not None:
        return ByUrl(args)
    return ByPid(find.of(args.pid) if args.pid is not None else choose(find.find(_ignore)))


def _ignore(_: str) -> None:
    """A server that cannot be read is none to choose."""
