"""What a worker holds: its slot, the status thread, and the tasks that are due each second.

The arbiter's side makes it right after the fork (see `ArbiterSide.worker_side`), and it lasts as
long as the worker. Its tasks run on the status thread. Nothing here knows gunicorn.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .counting import attached
from .listeners import queries, sock_diag
from .looking import frames, watched
from .looking.flight import Finder, Interrupted
from .looking.looker import Looker, SlowLooker
from .looking.stacks import Stacks
from .sampler import Sampler, marking, set_for_this_process
from .scoreboard.app_counters import UserCounters
from .scoreboard.board import Claim, Scoreboard
from .settings import Settings
from .snapshot import Arbiter, Snapshot
from .status import app as status
from .status.app import StatusApp
from .status.history import History
from .status.listener import StatusListener
from .status.thread import StatusServer

Warn = Callable[[str], None]
Push = Callable[[Callable[[], Snapshot]], None]


@dataclass(frozen=True)
class Task:
    """Something that is due each second."""

    name: str
    do: Callable[[], object]
    leader_only: bool = True
    """Whether one worker does it for all: the one that leads (see `Scoreboard.leads`)."""


class WorkerSide:
    """The parts of one worker.

    Args:
        settings: those that it was forked with.
        started: when its server started, in seconds of the monotonic clock.
        board: the scoreboard; None: nothing is counted.
        claim: the slot that the arbiter claimed for it; None: there was none free.
        claims_itself: the arbiter has not tried to claim one (other code has replaced our
            `pre_fork`), so this worker does.
        listener: the status listener; None: there is no status address.
        counters: the user's counters; None: there are none.
        stacks: where the arbiter finds this worker's stacks; None: nowhere.

    Attributes:
        heartbeat: to be called now and then, from `serve` on: there was no thread to be had, and
            the status is answered then. None: a thread does it.
    """

    def __init__(
        self,
        settings: Settings,
        started: float,
        *,
        board: Scoreboard | None = None,
        claim: Claim | None = None,
        claims_itself: bool = False,
        listener: StatusListener | None = None,
        counters: UserCounters | None = None,
        stacks: Stacks | None = None,
    ) -> None:
        self.settings = settings
        self.started = started
        self.tasks: list[Task] = []
        self.heartbeat: Callable[[], None] | None = None
        self._failed: set[str] = set()
        self._board = board
        self._claim = claim
        self._claims_itself = claims_itself
        self._listener = listener
        self._counters = counters
        self._stacks = stacks
        self._looker: Looker | None = None
        self._age = self._capacity = 0
        self._has_slot = False

    def take_over(self, age: int, capacity: int) -> bool:
        """Take over the slot that was claimed for this worker; return whether it has one now.

        Args:
            age: the worker's number in the order of forks.
            capacity: how many requests it can run at once.
        """
        self._age, self._capacity = age, capacity
        if self._board is None:
            return False
        self._board.forget_file()
        attached.show_current(self.settings.current)
        claim = self._board.claim_or_reap() if self._claims_itself else self._claim
        if claim is not None:
            self._take(self._board, claim)
        return self._has_slot

    def _take(self, board: Scoreboard, claim: Claim) -> None:
        self._claim = claim
        counters = self._counters
        prepare = None if counters is None else partial(counters.take_over, claim.slot)
        self._has_slot = attached.take_over(
            board, claim, self._age, self._capacity, prepare=prepare
        )
        self._keep_stacks("")  # the slot's last worker may have left some

    def seek(self) -> None:
        """Take over a slot if it has none: one that the arbiter has claimed for this worker since
        it was forked, or any free one where the arbiter claims none."""
        if self._has_slot or self._board is None:
            return
        board = self._board
        claim = board.claim_or_reap() if self._claims_itself else board.find_claim()
        if claim is not None:
            self._take(self._board, claim)
            if self._has_slot:
                attached.ready()

    def _show(self, board: Scoreboard) -> None:
        if self._has_slot and self._claim is not None:
            board.show(self._claim)

    def leave(self, cause: str) -> None:
        """Count this worker's end. It leaves, and knows the cause: one of exits.CAUSES."""
        if self._looker is not None:
            self._looker.finish()
        self.seek()  # the slot may have been claimed since it last looked
        if self._board is not None and self._claim is not None:
            self._board.exit(self._claim, cause)

    def serve(
        self, arbiter: Arbiter, sockets: list[Any], warn: Warn, push: Push | None = None
    ) -> StatusApp | None:
        """Start the status thread. Return what answers the status, also where it is exposed.

        Args:
            arbiter: who runs this worker.
            sockets: the application's listeners.
            warn: called with a line when something fails.
            push: called each second, in the leading worker, with what takes a snapshot.
        """
        if self._board is None:
            return None
        self._board.watch()  # the application is loaded, and may have replaced the guard
        sampler = Sampler(
            self._board,
            arbiter,
            sockets,
            self.settings.listeners,
            warn,
            self._counters,
            reads_headers=self.settings.queue_header,
        )
        take = marking(sampler, self._board)
        set_for_this_process(take)
        history = History(sampler, self._board)
        app = StatusApp(self.settings, take, warn, history=history.read)
        self._add_tasks(self._board, history, warn, push and (lambda: push(take)))
        tells = push is not None or self.settings.slow is not None
        if self._listener is not None or tells or not self._has_slot:
            self._start_thread(self._board, app, arbiter.pid, warn)
        return app

    def look_with(self, finder: Finder, tell: Warn) -> None:
        """Look at requests that take long from now on.

        Args:
            finder: finds where they stand.
            tell: logs a warning, each time.
        """
        frames.load()
        slow, shows, keep = self.settings.slow, self.settings.current, self._keep_stacks
        if slow is None:
            self._looker = Looker(attached, finder, keep, shows=shows)
        else:
            self._looker = SlowLooker(attached, finder, keep, shows=shows, slow=slow, tell=tell)

    def abort(self, interrupted: Interrupted) -> None:
        """Keep what the requests in flight are doing, also when they end: SIGABRT is the arbiter's
        timeout, and kills this worker."""
        attached.keep_current()
        if self._looker is not None:
            self._looker.abort(interrupted)

    def _look(self) -> float | None:
        watched.look()
        return None if self._looker is None else self._looker.look()

    def _keep_stacks(self, text: str) -> None:
        if self._stacks is not None and self._claim is not None:
            self._stacks.keep(self._claim.slot, text)

    def _add_tasks(
        self, board: Scoreboard, history: History, warn: Warn, push: Callable[[], None] | None
    ) -> None:
        if self._listener is not None and not self._listener.is_open:
            self.tasks.append(Task("opening the status address", partial(self._open, warn)))
        if not self._has_slot:
            self.tasks.append(Task("seeking a slot", self.seek, leader_only=False))
        self.tasks.append(Task("showing its slot", partial(self._show, board), leader_only=False))
        self.tasks.append(Task("keeping the history", history.keep))
        self.tasks.append(Task("reaping", board.reap_abandoned))
        self.tasks.append(Task("guarding the file", board.watch, leader_only=False))
        if push is not None:
            self.tasks.append(Task("statsd", push))

    def _start_thread(self, board: Scoreboard, app: StatusApp, parent: int, warn: Warn) -> None:
        # The thread imports nothing: a child that the application forks meanwhile would find the
        # module locked for ever.
        sock_diag.load()
        queries.load()
        if self._listener is not None:
            status.load()
        sock = self._listener and self._listener.sock
        turn = partial(self._turn, board, warn)
        server = StatusServer(sock, app, warn, parent, turn, self._look)
        try:
            server.start()
        except RuntimeError as error:  # the system's limit of threads
            warn(f"this worker has no status thread, and answers between its requests: {error}")
            self.heartbeat = server.turn

    def _open(self, warn: Warn) -> None:
        """Try again to listen on a status address that was taken. All workers share the socket."""
        listener = self._listener
        if listener is not None and not listener.is_open:
            with contextlib.suppress(OSError):  # it is taken still, which the arbiter has told
                listener.open()
                warn(f"bind: {listener.bind} is free now; status at {listener.url}")

    def _turn(self, board: Scoreboard, warn: Warn, late: float) -> None:
        attached.turned(round(late * 1e9))
        self.each_second(board, warn)

    def each_second(self, board: Scoreboard, warn: Warn) -> None:
        """Do the tasks. The first failure of each is warned of. It is tried again all the same, and
        the others go on."""
        leads: bool | None = None
        for task in self.tasks:
            try:
                if task.leader_only:
                    leads = board.leads(os.getpid()) if leads is None else leads
                    if not leads:
                        continue
                task.do()
            except Exception as error:  # whatever it is, the status is answered
                if task.name not in self._failed:
                    self._failed.add(task.name)
                    reason = f"{type(error).__name__}: {error}"
                    warn(f"{task.name}, which is due each second, failed: {reason}")
