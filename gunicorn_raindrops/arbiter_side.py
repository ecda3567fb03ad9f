"""What the arbiter holds: scoreboard, claims, status listener, and settings at a HUP.

All of it is made in the arbiter before it forks. A fork gives each worker a copy, of which the
worker keeps what it needs (see `worker_side`).

Before gunicorn 24 `child_exit` runs inside a signal handler. So between any two steps of the other
methods `release` may run, and so may `later`, which is called when that fails. Neither logs.
Nothing here knows gunicorn: a worker is a key.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from . import handover, sharing
from ._native._scoreboard import lib
from .listeners import queries, tcp_info
from .looking.stacks import Stacks
from .sampler import Sampler
from .scoreboard import exits
from .scoreboard.app_counters import UserCounters, find
from .scoreboard.board import Scoreboard
from .scoreboard.claims import Claims, Ended, PidOf
from .scoreboard.records import KillRecord
from .settings import Settings
from .snapshot import Arbiter
from .status import app as status
from .status.address import StatusAddress
from .worker_side import Warn, WorkerSide

KEPT = ("file", "max_workers")
"""Settings that are the scoreboard's own; it lasts as long as the server and its upgrades."""


class ArbiterSide:
    """The parts of a running server; None for one that failed or is switched off.

    Args:
        settings: checked settings.
        warn: called with a line for each part that failed.
        tell: called with a line for each worker that was killed in a request.
        info: a logger's info, for the status address in use.

    Attributes:
        serves: whether the workers answer on the status address; not those of an unknown class.
    """

    def __init__(
        self, settings: Settings, warn: Warn, tell: Warn, info: Callable[..., None]
    ) -> None:
        self.settings = settings
        self.pid = os.getpid()
        self.started = time.monotonic()
        self._warn = warn
        self._tell = tell
        self._board: Scoreboard | None = None
        self._claims: Claims | None = None
        self._wanted: int | None = None
        self.serves = True
        self._address = StatusAddress(warn, info)
        self._counters: UserCounters | None = None
        self._stacks: Stacks | None = None
        self._late: list[tuple[Warn, str]] = []
        self._defers_accept = False
        self._kept = {name: getattr(settings, name) for name in KEPT}

    @classmethod
    def start(
        cls,
        settings: Settings,
        warn: Warn,
        tell: Warn,
        info: Callable[..., None],
        environ: MutableMapping[str, str],
    ) -> ArbiterSide:
        """Make the scoreboard, in the arbiter; `open` opens the status address later.

        Args:
            settings, warn, tell, info: see the class.
            environ: of this process. What an earlier arbiter has left there is taken over.
        """
        side, inherited = cls(settings, warn, tell, info), handover.Inherited(environ, warn)
        side._use(inherited.board() or side._make_board())
        side._kept |= inherited.kept()
        side._warn_of_kept()
        side._share_counters(inherited.counters)
        sock = inherited.listener(settings.bind)
        if sock is not None:
            side._address.inherit(settings, sock, inherited.file())
        return side

    # The scoreboard.

    def _use(self, board: Scoreboard | None) -> None:
        self._board = board
        self._claims = Claims(board) if board is not None else None
        self._stacks = self._make_stacks(board) if board is not None else None
        if board is not None:  # a helper would pass for the server, once that has ended
            lib.grd_close_in_children(board.fileno())
        if self._wanted is not None:
            self.want(self._wanted)

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

    def _make_stacks(self, board: Scoreboard) -> Stacks | None:
        try:
            return Stacks(board.slots)
        except (OSError, ValueError) as error:
            self._warn(f"no memory for the stacks of workers that time out: {error}")
            return None

    def _share_counters(self, go_on: Callable[[UserCounters], None]) -> None:
        """Share the user's counters among all workers.

        Args:
            go_on: has them go on from where they were before.
        """
        self._counters = None
        if self.settings.counters is not None and self._board is not None:
            self._counters = UserCounters(find(self.settings.counters), self._board.slots)
            go_on(self._counters)

    def try_listeners(self, arbiter: Arbiter, sockets: list[Any]) -> None:
        """Take one snapshot, for the warnings that it may bring."""
        if self._board is None:
            return
        queries.load_alone()  # each worker's end destroys all that is there
        try:
            self._sample(self._board, arbiter, sockets)
        except OSError:
            if not self._board.lost:
                raise
            self._sample(self._renew(), arbiter, sockets)

    def _sample(self, board: Scoreboard, arbiter: Arbiter, sockets: list[Any]) -> None:
        Sampler(board, arbiter, sockets, self.settings.listeners, self._warn).take()

    # The workers.

    def claim(self, worker: Any, ended: Callable[[Any], Ended | None]) -> None:
        """Claim a slot for a worker about to be forked.

        Args:
            worker: the worker.
            ended: tells how a worker of an earlier claim ended; None of one that lives.
        """
        self._tell_late()
        if self._board is None or self._claims is None:
            return
        if self._board.lost:
            self._renew()
        for old in self._claims.workers():
            end = ended(old)
            if end is not None:
                self.release(old, end)
        if not self._claims.claim(worker):
            self._warn(
                f"max_workers: all {self._board.slots} slots are taken; "
                "workers beyond them serve, but are not counted"
            )

    def _renew(self) -> Scoreboard:
        """Count anew: workers forked from now on share another scoreboard."""
        self._warn(f"file: {self.settings.file} was cut short while in use; counting in memory")
        if self._board is not None:
            self._board.forget_file()  # workers to come would have its descriptor
        board = Scoreboard(self.settings.max_workers)
        self._use(board)
        return board

    def release(self, worker: Any, end: Ended, pid_of: PidOf = lambda _: None) -> None:
        """Free the slot of a worker that is gone; one that has none is no error. Logs nothing.

        Args:
            worker: the worker.
            end: how it ended, unless it has said so itself.
            pid_of: tells another worker's pid. The first that came when there was no slot, as at
                a HUP, when old and new are there at once, gets this one.
        """
        if self._claims is not None:
            killed = self._claims.release(worker, end, pid_of)
            if killed is None:
                return
            stacks = self._stacks_of(killed)
            if killed.current is not None or stacks:
                lines = filter(None, (exits.describe(killed), stacks))
                self._late.append((self._tell, "\n".join(lines)))

    def _stacks_of(self, killed: KillRecord) -> str:
        """Return the stacks of a worker that has timed out, as it has last kept them. If it has
        never looked at its oldest request, they are of earlier ones."""
        if self._stacks is None or killed.cause != exits.TIMEOUT:
            return ""
        if killed.current is not None and killed.where is None:
            return ""
        return self._stacks.read(killed.slot)

    def later(self, message: str) -> None:
        """Warn at the next occasion: this one must not log."""
        self._late.append((self._warn, message))

    def _tell_late(self) -> None:
        while self._late:
            say, message = self._late.pop(0)
            say(message)

    def want(self, workers: int) -> None:
        """Tell all readers how many workers this arbiter means to have."""
        self._wanted = workers
        if self._board is not None:
            self._board.want(workers)

    def worker_side(self, worker: Any) -> WorkerSide:
        """Return what this worker holds, in its process."""
        claims = self._claims
        return WorkerSide(
            self.settings,
            self.started,
            board=self._board,
            claims_itself=claims is not None and worker not in claims.workers(),
            claim=claims.take(worker) if claims is not None else None,
            listener=self._address.listener,
            counters=self._counters,
            stacks=self._stacks,
        )

    # The listeners.

    def open(self) -> None:
        """Listen on the status address, or go on with the listener of an earlier arbiter.

        Not before the application's listeners are open: where both want one address it is theirs.
        Not where no worker would answer.
        """
        if self._is_served:
            self._address.open(self.settings)

    @property
    def _is_served(self) -> bool:
        """Whether a worker would answer."""
        return self._board is not None and self.serves

    def load(self) -> None:
        """Import what answers need, for all workers to share the pages. What the listeners need
        has been imported when they were tried."""
        if self._address.listener is not None or self.settings.expose:
            with sharing.apart("prometheus_client"):
                status.load()

    def stop(self, alone: bool) -> None:
        """Close the status address; `alone`: no other generation of this server listens on it."""
        self._tell_late()
        if alone:
            self._address.close()

    def defer_accept(self, sockets: list[Any]) -> None:
        """Set TCP_DEFER_ACCEPT on the application's listeners as the settings say. An option that
        we have not set stays as it is."""
        if self.settings.defer_accept or self._defers_accept:
            self._defers_accept = self.settings.defer_accept
            tcp_info.defer_accept(sockets, self._defers_accept)

    # A HUP, and an upgrade.

    def reload(self, settings: Settings, alone: bool) -> None:
        """Take over new settings; workers forked from now on have them.

        Args:
            settings: the new ones.
            alone: no other generation of this server listens on the status address.
        """
        old, self.settings = self.settings, settings
        self._warn_of_kept()
        if old.counters != settings.counters:
            before = self._counters
            self._share_counters(lambda counters: counters.go_on_from(before))
        if not self._is_served:
            self.stop(alone)
        else:
            self.settings = self._address.reload(old, settings, alone)

    def _warn_of_kept(self) -> None:
        """Warn of settings that differ from those which the scoreboard was made with."""
        for name in KEPT:
            if self._kept[name] != getattr(self.settings, name):
                self._warn(f"{name} changes at the next start only, not by HUP or USR2")

    def hand_over(self) -> dict[str, str]:
        """Return the variables by which the next arbiter finds what this one shares."""
        if self._board is None:
            return {}
        return handover.hand_over(
            self._board, self._kept, listener=self._address.open_listener, counters=self._counters
        )
