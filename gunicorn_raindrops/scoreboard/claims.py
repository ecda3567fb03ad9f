"""Which worker has which slot, as its arbiter knows it: `Claims`.

The table is private to the arbiter. Workers may scribble on the shared pages, so those are never
asked whose a slot is. A worker is a key here, and nothing else is known of it.

Before gunicorn 24 `child_exit` runs inside a signal handler. So `release` may interrupt any method,
itself included. Therefore an entry is looked up and removed in one step, whose result says who has
removed it, and iteration goes over copies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .board import Claim, Scoreboard
from .records import KillRecord

Ended = tuple[int, str]
"""The end of a worker: its pid, and the cause as its arbiter knows it, one of exits.CAUSES."""

PidOf = Callable[[Any], int | None]
"""Returns a worker's pid; None while it is being forked."""


class Claims:
    """The claims that one arbiter has made in a scoreboard."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._claims: dict[Any, Claim] = {}
        self._waiting: dict[Any, bool] = {}  # those without a slot, in the order in which they came

    def workers(self) -> list[Any]:
        """Return the workers, those without a slot included."""
        return [*self._claims, *self._waiting]

    def claim(self, worker: Any) -> bool:
        """Claim a slot for a worker about to be forked, unless it has one. Return whether there
        was one free; if not, the worker counts as untracked and waits for one."""
        if worker in self._claims or worker in self._waiting:
            return worker in self._claims
        claim = self._board.claim_or_reap()
        if claim is None:
            self._board.add_untracked(1)
            self._waiting[worker] = True
            return False
        self._claims[worker] = claim
        return True

    def release(self, worker: Any, end: Ended, pid_of: PidOf) -> KillRecord | None:
        """Free the slot of a worker that is gone, and claim it for the first one that waits. A
        worker that is not in the table is no error.

        Args:
            worker: the worker.
            end: how it ended, unless it has said so itself.
            pid_of: tells the pids of those that wait.

        Returns:
            what is known of a worker that did not say itself why it went.
        """
        claim = self._claims.pop(worker, None)
        if claim is None:
            if self._waiting.pop(worker, False):
                self._board.add_untracked(-1)
            return None
        killed = self._board.record_kill(claim, *end)
        self._board.release(claim)
        self._claim_for_waiting(pid_of)
        return killed

    def _claim_for_waiting(self, pid_of: PidOf) -> None:
        for worker in list(self._waiting):
            pid = pid_of(worker)
            if pid is None or not self._waiting.pop(worker, False):
                continue  # in the latter case this was interrupted by what has removed it
            claim = self._board.claim(pid)
            if claim is None:  # another arbiter was quicker
                self._waiting[worker] = True
            else:
                self._claims[worker] = claim
                self._board.add_untracked(-1)
            return

    def take(self, worker: Any) -> Claim | None:
        """Return the claim for a worker, in that worker's process, which needs no other; None if
        it has none."""
        claim = self._claims.get(worker)
        self._claims.clear()
        self._waiting.clear()
        return claim
