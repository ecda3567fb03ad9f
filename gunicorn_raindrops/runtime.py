"""What a server with these hooks holds: scoreboard, status address, and who has which slot.

Made in the arbiter before it forks; a fork gives each worker its copy, of which it keeps what it
needs. The table of claims is the arbiter's own and private: the shared pages, which a worker may
scribble on, are never asked whose a slot is. Nothing here knows gunicorn: a worker is a key.
"""

from __future__ import annotations

import _socket
import contextlib
import json
import os
import socket
import stat
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from . import exits, scoreboard
from .scoreboard import Claim, Scoreboard
from .server import StatusServer, open_listener
from .settings import Settings
from .snapshot import Arbiter, Sampler, name_of, serve_here
from .status import StatusApp

INHERITED = "RAINDROPS_INHERITED"
"""Variable in which an arbiter names its descriptors for the one that it executes."""

Warn = Callable[[str], None]

Ended = tuple[int, str]
"""The end of a worker: its pid, and the cause as its arbiter knows it, one of exits.CAUSES."""


class Runtime:
    """The parts of a running server; None for one that failed or is switched off."""

    def __init__(
        self, settings: Settings, warn: Warn, tell: Warn, info: Callable[..., None]
    ) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self._warn = warn
        self._tell = tell
        self._info = info
        self._board: Scoreboard | None = None
        self._listener: Any = None
        self._claims: dict[Any, Claim | None] = {}
        self._late: list[tuple[Warn, str]] = []
        self._mine: Claim | None = None

    @classmethod
    def start(
        cls,
        settings: Settings,
        warn: Warn,
        tell: Warn,
        info: Callable[..., None],
        environ: MutableMapping[str, str],
    ) -> Runtime:
        """Make the scoreboard and open the status address, in the arbiter.

        Args:
            settings: checked settings.
            warn: called with a line for each part that failed.
            tell: called with a line for each worker that was killed in a request.
            info: a logger's info, for the address in use.
            environ: of this process; what an earlier arbiter has left there is taken over.
        """
        runtime = cls(settings, warn, tell, info)
        board, listener = _inherit(environ, settings)
        runtime._board = board or runtime._make_board()
        runtime._open(listener)
        return runtime

    def _make_board(self) -> Scoreboard | None:
        slots, file = self.settings.max_workers, self.settings.file
        if file is not None:
            try:
                return Scoreboard(slots, file)
            except BlockingIOError:
                self._warn(f"file: {file} is another server's; counting in memory only")
            except (OSError, ValueError) as error:
                self._warn(f"file: {error}; counting in memory only")
        try:
            return Scoreboard(slots)
        except OSError as error:
            self._warn(f"no shared memory, nothing is counted: {error}")
            return None

    def _open(self, listener: Any = None) -> None:
        """Listen on the status address, or go on with a listener that does."""
        self._listener = listener
        address, bind = self.settings.address, self.settings.bind
        if address is None:
            return
        if listener is None:
            try:
                self._listener = open_listener(address)
            except OSError as error:
                self._warn(f"bind: {bind} cannot be listened on: {error}; no status there")
                return
        if not self.settings.is_local and self.settings.token is None:
            self._warn(f"bind: {bind} can be reached from other machines; set a token")
        self._info("gunicorn-raindrops: status at %s", self._url())

    def _url(self) -> str:
        name = name_of(self._listener.family, self._listener.getsockname())
        if self._listener.family == _socket.AF_UNIX:
            return f"unix:{name}, path {self.settings.path}"
        return f"http://{name}{self.settings.path}"

    # In the arbiter, while it runs.

    def reload(self, settings: Settings, alone: bool) -> None:
        """Take over new settings; workers forked from now on have them.

        Args:
            settings: the new ones.
            alone: no other generation of this server listens on the status address.
        """
        old, self.settings = self.settings, settings
        for name in ("file", "max_workers"):
            if getattr(old, name) != getattr(settings, name):
                self._warn(f"{name} changes at the next start only")
        if old.bind != settings.bind:
            if alone:
                self._stop_listening(old)
            self._open()

    def try_listeners(self, arbiter: Arbiter, sockets: list[Any]) -> None:
        """Take one snapshot, for the warnings that it may bring."""
        if self._board is not None:
            Sampler(self._board, arbiter, sockets, self.settings.listeners, self._warn).take()

    def claim(self, worker: Any, ended: Callable[[Any], Ended | None]) -> None:
        """Claim a slot for a worker about to be forked.

        Args:
            worker: the worker.
            ended: tells how a worker of an earlier claim ended; None of one that lives.
        """
        self._tell_late()
        if self._board is None:
            return
        for old in list(self._claims):
            end = ended(old)
            if end is not None:
                self.release(old, end)
        claim = self._board.claim()
        if claim is None:
            self._board.reclaim()
            claim = self._board.claim()
        if claim is None:
            self._board.add_untracked(1)
            self._warn(
                f"max_workers: all {self._board.slots} slots are taken; "
                "workers beyond them serve, but are not counted"
            )
        self._claims[worker] = claim

    def release(self, worker: Any, end: Ended) -> None:
        """Free the slot of a worker that is gone; one that has none is no error. Logs nothing."""
        if self._board is None or worker not in self._claims:
            return
        claim = self._claims.pop(worker)
        if claim is None:
            self._board.add_untracked(-1)
            return
        killed = self._board.bury(claim, *end)
        self._board.release(claim)
        if killed is not None and killed.current is not None:
            self._late.append((self._tell, exits.describe(killed)))

    def later(self, message: str) -> None:
        """Warn at the next occasion: this one must not log."""
        self._late.append((self._warn, message))

    def _tell_late(self) -> None:
        while self._late:
            say, message = self._late.pop(0)
            say(message)

    def defer_accept(self, sockets: list[Any]) -> None:
        """Have the kernel hand connections over with their request, not before, or no longer."""
        for sock in sockets:
            if sock.family == socket.AF_UNIX or not hasattr(socket, "TCP_DEFER_ACCEPT"):
                continue
            seconds = 1 if self.settings.defer_accept else 0
            if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) != seconds:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)

    def bequeath(self) -> dict[str, str]:
        """Return variables by which the next arbiter finds what this one shares. Called in the
        process that is about to execute it, whose descriptors thereby stay open."""
        if self._board is None:
            return {}
        will = {"pid": os.getppid(), "board": _hand_on(self._board.fileno())}
        if self._listener is not None:
            will["status"] = _hand_on(self._listener.fileno())
            will["bind"] = self.settings.bind
        return {INHERITED: json.dumps(will)}

    def stop(self, alone: bool) -> None:
        """Close the status address; `alone`: no other generation of this server listens on it."""
        self._tell_late()
        if alone:
            self._stop_listening(self.settings)

    def _stop_listening(self, settings: Settings) -> None:
        if self._listener is None:
            return
        # For the workers that still have it, too, so that the address is free at once.
        with contextlib.suppress(OSError):
            self._listener.shutdown(_socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        address = settings.address
        if address is not None and address[0] == socket.AF_UNIX:
            with contextlib.suppress(OSError):
                Path(address[1]).unlink()

    # In a worker.

    def take(self, worker: Any, age: int, capacity: int) -> bool:
        """Take over the slot that was claimed for this worker; whether it has one."""
        claim = self._claims.get(worker)
        self._claims.clear()
        if self._board is None:
            return False
        self._board.forget_file()
        self._mine = claim
        scoreboard.show_current(self.settings.current)
        return claim is not None and self._board.take(claim, age, capacity)

    def leave(self, cause: str) -> None:
        """Count this worker's end: it leaves, and knows why."""
        if self._board is not None and self._mine is not None:
            self._board.exit(self._mine, cause)

    def serve(self, arbiter: Arbiter, sockets: list[Any], warn: Warn) -> StatusApp | None:
        """Start the status thread; returns what answers, also for an exposed status."""
        if self._board is None:
            return None
        sampler = Sampler(self._board, arbiter, sockets, self.settings.listeners, warn)
        serve_here(sampler.take)
        app = StatusApp(self.settings, sampler.take)
        if self._listener is not None:
            StatusServer(self._listener, app, warn).start()
        return app


def _hand_on(fd: int) -> tuple[int, int]:
    os.set_inheritable(fd, True)
    return fd, os.fstat(fd).st_ino


def _inherit(
    environ: MutableMapping[str, str], settings: Settings
) -> tuple[Scoreboard | None, Any]:
    """Take over scoreboard and status listener from the arbiter that executed this one.

    Each descriptor is used only if it is what its inode says, and the will is our parent's:
    variables outlive their meaning.
    """
    try:
        will = json.loads(environ.pop(INHERITED))
        if will["pid"] != os.getppid():
            return None, None
        board = Scoreboard.adopt(_accept(will["board"], stat.S_ISREG))
    except (KeyError, TypeError, ValueError, OSError):
        return None, None
    listener = None
    with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
        fd = _accept(will["status"], stat.S_ISSOCK)
        if will["bind"] == settings.bind:
            listener = _socket.socket(fileno=fd)
        else:
            os.close(fd)
    return board, listener


def _accept(named: tuple[int, int], is_kind: Callable[[int], bool]) -> int:
    fd, inode = named
    found = os.fstat(fd)
    if found.st_ino != inode or not is_kind(found.st_mode):
        raise ValueError(f"descriptor {fd} is not what was handed on")
    os.set_inheritable(fd, False)
    return fd
