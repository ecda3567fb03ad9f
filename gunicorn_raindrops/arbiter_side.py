"""What a server with these hooks holds: scoreboard, status address, and who has which slot.

Made in the arbiter before it forks; a fork gives each worker its copy, of which it keeps what it
needs. The table of claims is the arbiter's own and private: the shared pages, which a worker may
scribble on, are never asked whose a slot is. Nothing here knows gunicorn: a worker is a key.
"""

from __future__ import annotations

import _socket
import contextlib
import dataclasses
import functools
import json
import os
import socket
import stat
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from . import unpatched
from .counting import attached
from .listeners import sock_diag
from .listeners.addresses import Address, name_of
from .sampler import Sampler, marking, set_for_this_process
from .scoreboard import exits
from .scoreboard.app_counters import UserCounters, find
from .scoreboard.board import Claim, Scoreboard
from .settings import Settings
from .snapshot import Arbiter, Snapshot
from .status import app as status
from .status.app import StatusApp
from .status.thread import StatusServer, open_listener

INHERITED = "RAINDROPS_INHERITED"
"""Variable in which an arbiter names its descriptors for the one that it executes."""

KEPT = ("file", "max_workers")
"""Settings that are the scoreboard's own; it lasts as long as the server and its upgrades."""

Warn = Callable[[str], None]
Push = Callable[[Callable[[], Snapshot]], None]

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
        self._counters: UserCounters | None = None
        self._claims: dict[Any, Claim | None] = {}
        self._late: list[tuple[Warn, str]] = []
        self._take: Callable[[Claim], bool] = lambda claim: False
        self._mine: Claim | None = None
        self._standing = False
        self._deferring = False
        self._kept = {name: getattr(settings, name) for name in KEPT}

    @classmethod
    def start(
        cls,
        settings: Settings,
        warn: Warn,
        tell: Warn,
        info: Callable[..., None],
        environ: MutableMapping[str, str],
    ) -> Runtime:
        """Make the scoreboard, in the arbiter; the status address is opened by `open`.

        Args:
            settings: checked settings.
            warn: called with a line for each part that failed.
            tell: called with a line for each worker that was killed in a request.
            info: a logger's info, for the status address in use.
            environ: of this process; what an earlier arbiter has left there is taken over.
        """
        runtime = cls(settings, warn, tell, info)
        will = _Will(environ)
        runtime._board = will.board() or runtime._make_board()
        runtime._kept |= will.kept()
        runtime._tell_kept()
        runtime._share_counters(will.counters)
        runtime._listener = will.listener(settings)
        return runtime

    def _share_counters(self, go_on: Callable[[UserCounters], None]) -> None:
        """Have the user's counters be those of all workers.

        Args:
            go_on: has them go on from where they were before.
        """
        self._counters = None
        if self.settings.counters is not None and self._board is not None:
            self._counters = UserCounters(find(self.settings.counters), self._board.slots)
            go_on(self._counters)

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

    def open(self) -> None:
        """Listen on the status address, or go on with the listener of an earlier arbiter.

        Not before the application's listeners are open: where both want one address it is theirs.
        """
        address, bind = self.settings.address, self.settings.bind
        if address is None:
            return
        if self._listener is None:
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
        self._tell_kept()
        if old.counters != settings.counters:
            before = self._counters
            self._share_counters(lambda counters: counters.go_on_from(before))
        if old.bind != settings.bind:
            self._move(old, alone)
        elif self._listener is None:  # taken then, perhaps free by now
            self.open()

    def _move(self, old: Settings, alone: bool) -> None:
        """Listen on the new status address; where that cannot be, go on with the old one."""
        before, self._listener = self._listener, None
        if alone and _same_port(old.address, self.settings.address):
            _stop_listening(before, old)
            before = None
        self.open()
        if self._listener is None and self.settings.address is not None:
            self._listener = before
            self.settings = dataclasses.replace(self.settings, bind=old.bind)
        elif alone:
            _stop_listening(before, old)

    def _tell_kept(self) -> None:
        """Warn of settings that differ from those which the scoreboard was made with."""
        for name in KEPT:
            if self._kept[name] != getattr(self.settings, name):
                self._warn(f"{name} changes at the next start only, not by HUP or USR2")

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
        if self._board.lost:
            self._renew()
        for old in list(self._claims):
            end = ended(old)
            if end is not None:
                self.release(old, end)
        claim = self._board.claim()
        if claim is None:
            self._board.reap()
            claim = self._board.claim()
        if claim is None:
            self._board.add_untracked(1)
            self._warn(
                f"max_workers: all {self._board.slots} slots are taken; "
                "workers beyond them serve, but are not counted"
            )
        self._claims[worker] = claim

    def _renew(self) -> None:
        """Count anew: workers forked from now on share another scoreboard."""
        self._warn(f"file: {self.settings.file} was cut short while in use; counting in memory")
        self._claims.clear()
        self._board = Scoreboard(self.settings.max_workers)

    def release(
        self, worker: Any, end: Ended, pid_of: Callable[[Any], int | None] = lambda _: None
    ) -> None:
        """Free the slot of a worker that is gone; one that has none is no error. Logs nothing.

        Args:
            worker: the worker.
            end: how it ended, unless it has said so itself.
            pid_of: tells another worker's pid. The first that came when there was no slot, as at
                a HUP, when old and new are there at once, gets this one.
        """
        if self._board is None or worker not in self._claims:
            return
        claim = self._claims.pop(worker)
        if claim is None:
            self._board.add_untracked(-1)
            return
        killed = self._board.record_kill(claim, *end)
        self._board.release(claim)
        if killed is not None and killed.current is not None:
            self._late.append((self._tell, exits.describe(killed)))
        self._seat_waiting(self._board, pid_of)

    def _seat_waiting(self, board: Scoreboard, pid_of: Callable[[Any], int | None]) -> None:
        waiting = (worker for worker, claim in self._claims.items() if claim is None)
        worker = next((worker for worker in waiting if pid_of(worker)), None)
        claim = board.claim(pid_of(worker)) if worker is not None else None
        if claim is not None:
            self._claims[worker] = claim
            board.add_untracked(-1)

    def later(self, message: str) -> None:
        """Warn at the next occasion: this one must not log."""
        self._late.append((self._warn, message))

    def _tell_late(self) -> None:
        while self._late:
            say, message = self._late.pop(0)
            say(message)

    def defer_accept(self, sockets: list[Any]) -> None:
        """Have the kernel hand connections over with their request, not before; or, if this had
        it do so, no longer."""
        if not self.settings.defer_accept and not self._deferring:
            return
        self._deferring = self.settings.defer_accept
        for sock in sockets:
            if sock.family != socket.AF_UNIX and hasattr(socket, "TCP_DEFER_ACCEPT"):
                seconds = 1 if self._deferring else 0
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)

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
        if self._counters is not None:
            will["counters"] = [_hand_on(fd) for fd in self._counters.descriptors()]
            will["shape"] = self._counters.shape()
        return {INHERITED: json.dumps(will)}

    def stop(self, alone: bool) -> None:
        """Close the status address; `alone`: no other generation of this server listens on it."""
        self._tell_late()
        if alone:
            _stop_listening(self._listener, self.settings)
            self._listener = None

    # In a worker.

    def take(self, worker: Any, age: int, capacity: int) -> bool:
        """Take over the slot that was claimed for this worker; whether it has one."""
        claim = self._claims.get(worker)
        self._claims.clear()
        if self._board is None:
            return False
        self._board.forget_file()
        attached.show_current(self.settings.current)
        self._take = functools.partial(self._sit, self._board, age, capacity)
        self._standing = claim is None or not self._take(claim)
        return not self._standing

    def _sit(self, board: Scoreboard, age: int, capacity: int, claim: Claim) -> bool:
        if self._counters is not None:
            self._counters.sit(claim.slot)
        self._mine = claim
        return attached.take_over(board, claim, age, capacity)

    def seek(self) -> None:
        """Take over a slot that the arbiter has claimed for this worker since it came, when there
        was none."""
        if self._standing and self._board is not None:
            claim = self._board.find_claim()
            if claim is not None and self._take(claim):
                self._standing = False
                attached.ready()

    def leave(self, cause: str) -> None:
        """Count this worker's end: it leaves, and knows why."""
        self.seek()  # the slot may have been claimed since it last looked
        if self._board is not None and self._mine is not None:
            self._board.exit(self._mine, cause)

    def serve(
        self,
        arbiter: Arbiter,
        sockets: list[Any],
        warn: Warn,
        push: Push | None = None,
    ) -> StatusApp | None:
        """Start the status thread; returns what answers, also for an exposed status.

        Args:
            arbiter: who runs this worker.
            sockets: the application's listeners.
            warn: called with a line when something fails.
            push: called each second, in one worker at a time, with what takes a snapshot.
        """
        if self._board is None:
            return None
        sampler = Sampler(
            self._board, arbiter, sockets, self.settings.listeners, warn, self._counters
        )
        take = marking(sampler, self._board)
        set_for_this_process(take)
        app = StatusApp(self.settings, take, warn)
        tick = functools.partial(self._each_second, self._board, sampler, push)
        if self._listener is not None or push is not None or self._standing:
            sock_diag.load()
            if unpatched.is_patched():
                status.load()
            try:
                StatusServer(self._listener, app, warn, arbiter.pid, tick).start()
            except RuntimeError as error:  # the system's limit of threads
                warn(f"this worker has no status thread: {error}")
        return app

    def _each_second(self, board: Scoreboard, sampler: Sampler, push: Push | None) -> None:
        self.seek()
        if not board.leads(os.getpid()):
            return
        if push is None:
            board.saw_queued(sampler.queued())
        else:
            push(marking(sampler, board))


def _stop_listening(listener: Any, settings: Settings) -> None:
    if listener is None:
        return
    # For the workers that still have it, too, so that the address is free at once.
    with contextlib.suppress(OSError):
        listener.shutdown(_socket.SHUT_RDWR)
    listener.close()
    address = settings.address
    if address is not None and address[0] == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            Path(address[1]).unlink()


def _same_port(one: Address | None, other: Address | None) -> bool:
    """Tell whether two addresses might not be listened on at once."""
    if one is None or other is None or socket.AF_UNIX in (one[0], other[0]):
        return False
    return bool(one[1][1] == other[1][1] != 0)


def _hand_on(fd: int) -> tuple[int, int]:
    os.set_inheritable(fd, True)
    return fd, os.fstat(fd).st_ino


class _Will:
    """What the arbiter that executed this one has left to it.

    Each descriptor is used only if it is what its inode says, and the will is our parent's:
    variables outlive their meaning.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._left: dict[str, Any] = {}
        with contextlib.suppress(KeyError, TypeError, ValueError):
            left = json.loads(environ.pop(INHERITED))
            if left["pid"] == os.getppid():
                self._left = left

    def board(self) -> Scoreboard | None:
        """Return its scoreboard."""
        with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
            return Scoreboard.adopt(_accept(self._left["board"], stat.S_ISREG))
        self._left = {}  # what else there is belongs to that scoreboard
        return None

    def kept(self) -> dict[str, Any]:
        """Return the settings that its scoreboard was made with."""
        with contextlib.suppress(TypeError, ValueError):
            return dict(self._left.get("kept", {}))
        return {}

    def listener(self, settings: Settings) -> Any:
        """Return its status listener, if that is where `settings` want one."""
        with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
            fd = _accept(self._left["status"], stat.S_ISSOCK)
            if self._left["bind"] == settings.bind:
                return _socket.socket(fileno=fd)
            os.close(fd)
        return None

    def counters(self, counters: UserCounters) -> None:
        """Have the user's counters go on from where they were, if they are the same ones."""
        with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
            descriptors = [_accept(named, stat.S_ISREG) for named in self._left["counters"]]
            if self._left["shape"] == json.loads(json.dumps(counters.shape())):
                counters.adopt(descriptors)
            for fd in descriptors:
                os.close(fd)


def _accept(named: tuple[int, int], is_kind: Callable[[int], bool]) -> int:
    fd, inode = named
    found = os.fstat(fd)
    if found.st_ino != inode or not is_kind(found.st_mode):
        raise ValueError(f"descriptor {fd} is not what was handed on")
    os.set_inheritable(fd, False)
    return fd
