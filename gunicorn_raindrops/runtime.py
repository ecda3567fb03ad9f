"""What a server with these hooks holds: scoreboard, status address, and who has which slot.

Made in the arbiter before it forks; a fork gives each worker its copy, of which it keeps what it
needs. The table of claims is the arbiter's own and private: the shared pages, which a worker may
scribble on, are never asked whose a slot is. Nothing here knows gunicorn: a worker is a key.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import json
import os
import socket
import stat
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from .scoreboard import Claim, Scoreboard
from .server import StatusServer, open_listener
from .settings import Settings
from .snapshot import Arbiter, Sampler, name_of
from .status import StatusApp

INHERITED = "RAINDROPS_INHERITED"
"""Variable in which an arbiter names its descriptors for the one that it executes."""

KEPT = ("file", "max_workers")
"""Settings that are the scoreboard's own; it lasts as long as the server and its upgrades."""

Warn = Callable[[str], None]


class Runtime:
    """The parts of a running server; None for one that failed or is switched off."""

    def __init__(self, settings: Settings, warn: Warn, info: Callable[..., None]) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self._warn = warn
        self._info = info
        self._board: Scoreboard | None = None
        self._listener: Any = None
        self._claims: dict[Any, Claim | None] = {}
        self._late: list[str] = []
        self._taken = False
        self._kept = {name: getattr(settings, name) for name in KEPT}

    @classmethod
    def start(
        cls,
        settings: Settings,
        warn: Warn,
        info: Callable[..., None],
        environ: MutableMapping[str, str],
        patient: bool = False,
    ) -> Runtime:
        """Make the scoreboard and open the status address, in the arbiter.

        Args:
            settings: checked settings.
            warn: called with a line for each part that failed.
            info: a logger's info, for the address in use.
            environ: of this process; what an earlier arbiter has left there is taken over.
            patient: a status address that is taken is tried once more, in `open_again`: the
                orphans of a killed arbiter let it go when they notice.
        """
        runtime = cls(settings, warn, info)
        board, listener, kept = _inherit(environ, settings)
        runtime._board = board or runtime._make_board()
        runtime._kept |= kept
        runtime._tell_kept()
        runtime._open(listener, patient=patient)
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

    def _open(self, listener: Any = None, *, patient: bool = False) -> None:
        """Listen on the status address, or go on with a listener that does."""
        self._listener = listener
        address, bind = self.settings.address, self.settings.bind
        if address is None:
            return
        if listener is None:
            try:
                self._listener = open_listener(address)
            except OSError as error:
                self._taken = patient and error.errno == errno.EADDRINUSE
                if not self._taken:
                    self._warn(f"bind: {bind} cannot be listened on: {error}; no status there")
                return
        if not self.settings.is_local and self.settings.token is None:
            self._warn(f"bind: {bind} can be reached from other machines; set a token")
        self._info("gunicorn-raindrops: status at %s", self._url())

    def open_again(self) -> None:
        """Listen on the status address, if it was taken at the start."""
        if self._taken:
            self._taken = False
            self._open()

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
        self._tell_kept()
        if old.bind != settings.bind:
            if alone:
                self._stop_listening(old)
            self._open()
        elif self._listener is None:  # taken then, perhaps free by now
            self._open()

    def _tell_kept(self) -> None:
        """Warn of settings that differ from those which the scoreboard was made with."""
        for name in KEPT:
            if self._kept[name] != getattr(self.settings, name):
                self._warn(f"{name} changes at the next start only, not by HUP or USR2")

    def try_listeners(self, arbiter: Arbiter, sockets: list[Any]) -> None:
        """Take one snapshot, for the warnings that it may bring."""
        if self._board is not None:
            Sampler(self._board, arbiter, sockets, self.settings.listeners, self._warn).take()

    def claim(self, worker: Any, gone: Callable[[Any], bool]) -> None:
        """Claim a slot for a worker about to be forked.

        Args:
            worker: the worker.
            gone: tells whether a worker of an earlier claim is no more.
        """
        self._tell_late()
        if self._board is None:
            return
        for old in [old for old in list(self._claims) if gone(old)]:
            self.release(old)
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

    def release(self, worker: Any) -> None:
        """Free the slot of a worker that is gone; one that has none is no error."""
        if self._board is None or worker not in self._claims:
            return
        claim = self._claims.pop(worker)
        if claim is None:
            self._board.add_untracked(-1)
        else:
            self._board.release(claim)

    def later(self, message: str) -> None:
        """Warn at the next occasion: this one must not log."""
        self._late.append(message)

    def _tell_late(self) -> None:
        while self._late:
            self._warn(self._late.pop())

    def bequeath(self) -> dict[str, str]:
        """Return variables by which the next arbiter finds what this one shares. Called in the
        process that is about to execute it, whose descriptors thereby stay open."""
        if self._board is None:
            return {}
        will: dict[str, Any] = {"pid": os.getppid(), "kept": self._kept}
        will["board"] = _hand_on(self._board.fileno())
        if self._listener is not None:
            will["status"] = _hand_on(self._listener.fileno())
            will["bind"] = self.settings.bind
        return {INHERITED: json.dumps(will)}

    def stop(self, alone: bool) -> None:
        """Close the status address; `alone`: no other generation of this server listens on it."""
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
        return claim is not None and self._board.take(claim, age, capacity)

    def serve(self, arbiter: Arbiter, sockets: list[Any], warn: Warn) -> StatusApp | None:
        """Start the status thread; returns what answers, also for an exposed status."""
        if self._board is None:
            return None
        sampler = Sampler(self._board, arbiter, sockets, self.settings.listeners, warn)
        app = StatusApp(self.settings, sampler.take)
        if self._listener is not None:
            StatusServer(self._listener, app, warn, arbiter.pid).start()
        return app


def _hand_on(fd: int) -> tuple[int, int]:
    os.set_inheritable(fd, True)
    return fd, os.fstat(fd).st_ino


def _inherit(
    environ: MutableMapping[str, str], settings: Settings
) -> tuple[Scoreboard | None, Any, dict[str, Any]]:
    """Take over scoreboard and status listener from the arbiter that executed this one, and learn
    which settings the scoreboard was made with.

    Each descriptor is used only if it is what its inode says, and the will is our parent's:
    variables outlive their meaning.
    """
    try:
        will = json.loads(environ.pop(INHERITED))
        if will["pid"] != os.getppid():
            return None, None, {}
        board = Scoreboard.adopt(_accept(will["board"], stat.S_ISREG))
        kept = dict(will.get("kept", {}))  # an older version of this names none
    except (KeyError, TypeError, ValueError, OSError):
        return None, None, {}
    listener = None
    with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
        fd = _accept(will["status"], stat.S_ISSOCK)
        if will["bind"] == settings.bind:
            listener = _socket.socket(fileno=fd)
        else:
            os.close(fd)
    return board, listener, kept


def _accept(named: tuple[int, int], is_kind: Callable[[int], bool]) -> int:
    fd, inode = named
    found = os.fstat(fd)
    if found.st_ino != inode or not is_kind(found.st_mode):
        raise ValueError(f"descriptor {fd} is not what was handed on")
    os.set_inheritable(fd, False)
    return fd
