"""A server, read from outside: nothing of it has to run for that.

The scoreboard's memory is mapped read-only; the kernel is asked for listeners and processes. The
snapshot is the same as a worker's, without what only the server's own process knows: gunicorn's
version, the worker class, and the user's counters.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .. import __version__
from ..listeners import InetDiagSocket, queries
from ..sampler import Sampler
from ..scoreboard.reader import BoardReader
from ..snapshot import Arbiter, Snapshot
from . import listening, namespace, proc
from .listening import Listening

_WORKERS = 4
"""Whose sockets are compared to tell what they have in common."""

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Server:
    """A scoreboard, and who uses it.

    Attributes:
        board: the scoreboard.
        pids: its arbiters, two during an upgrade; else the processes that have no parent which
            uses it. The first is shown as the arbiter.
        is_gunicorn: whether they are arbiters.
    """

    board: BoardReader
    pids: tuple[int, ...]
    is_gunicorn: bool

    @property
    def folder(self) -> str | None:
        """The working folder."""
        return proc.folder(self.pids[0])

    def listeners(self) -> list[Listening]:
        """Return what it listens on, but for the status listener."""
        found: dict[int, Listening] = {}
        for pid in self.pids:
            found |= _listeners(pid, inheritable=self.is_gunicorn)
        if self.is_gunicorn and not found:
            return self._of_workers()
        return list(dict.fromkeys(found.values()))

    def _of_workers(self) -> list[Listening]:
        """Return what workers have opened themselves, with `reuse_port`: all of them the same. What
        they share with the arbiter is the status listener."""
        shared = {inode for pid in self.pids for inode in _listeners(pid)}
        rows = self.board.read().rows
        workers = [row.pid for row in rows if row.is_local and row.pid not in self.pids]
        each = []
        for pid in workers[:_WORKERS]:
            own = {one for inode, one in _listeners(pid).items() if inode not in shared}
            each += [own] if own else []  # one that starts has none yet
        return sorted(set.intersection(*each)) if each else []

    def sample(self, warn: Warn) -> Snapshot:
        """Take a snapshot; the arguments are `sampler`'s.

        Raises:
            OSError: the scoreboard's file was cut short.
        """
        with self.sampler(warn) as sampler:
            return sampler.take()

    @contextlib.contextmanager
    def sampler(self, warn: Warn) -> Iterator[Sampler]:
        """Return what takes snapshots, of the listeners that there are now.

        Args:
            warn: called with a line for what cannot be known.
        """
        sockets = self.listeners()
        with self._diag(sockets) as diag:
            said = _Once(lambda text: warn(f"process {self.pids[0]}: {text}"))
            yield Sampler(self.board, self._arbiter(), sockets, (), said, diag=diag)

    def _arbiter(self) -> Arbiter:
        started = proc.started(self.pids[0])
        return Arbiter(
            pid=self.pids[0],
            gunicorn=None,
            raindrops=__version__,
            worker_class=None,
            started=self.board.created if started is None else started,
        )

    def _diag(self, sockets: list[Listening]) -> InetDiagSocket:
        if not sockets:
            return namespace.Unreachable("nothing is asked")
        queries.load_alone()
        try:
            return namespace.diag_socket(self.pids[0])
        except OSError as error:
            return namespace.Unreachable(str(error))


class _Once:
    """Says a line, and no other after it: the reasons are one."""

    def __init__(self, say: Warn) -> None:
        self._say: Warn | None = say

    def __call__(self, text: str) -> None:
        say, self._say = self._say, None
        if say is not None:
            say(text)


def _listeners(pid: int, *, inheritable: bool = False) -> dict[int, Listening]:
    with contextlib.suppress(OSError):  # it has ended, or may not be looked at
        return listening.listeners(pid, inheritable=inheritable)
    return {}
