"""Forks of the process, and a thread that they must not catch at work: `ForkGate`.

A child has copies of all locks as they were, and none of its parent's other threads to let go of
them: one that is held at the fork stays locked for ever. Python makes its import lock and logging's
right again in the child. It does so for no other: not for the lock of one module's import, of a
stream such as stderr, or of a library of the user's that his log handlers call.

So the status thread works behind a gate. A fork waits until the thread has done its turn, which
takes some milliseconds, and the thread waits until the fork is over.
"""

from __future__ import annotations

import os

from .. import unpatched

PATIENCE_SECONDS = 0.5  # of a fork: the thread may itself wait for what the forking one holds


class ForkGate:
    """Closed while its thread works (in `with`), or while another thread forks."""

    def __init__(self) -> None:
        self._allocate = unpatched.original("_thread", "allocate_lock")
        self._lock = self._allocate()
        self._own = unpatched.original("_thread", "get_ident")
        self._working: int | None = None
        self._forking: int | None = None
        os.register_at_fork(
            before=self._close, after_in_parent=self._open, after_in_child=self._forget
        )

    def __enter__(self) -> None:
        mine = self._own()
        if self._working != mine:  # else it was not left: there was no memory to call __exit__
            self._lock.acquire()
            self._working = mine

    def __exit__(self, *exc: object) -> None:
        self._working = None
        self._lock.release()

    def _close(self) -> None:
        mine = self._own()
        if self._working != mine and self._lock.acquire(timeout=PATIENCE_SECONDS):
            self._forking = mine

    def _open(self) -> None:
        if self._forking == self._own():
            self._forking = None
            self._lock.release()

    def _forget(self) -> None:
        """In a child there is no such thread."""
        self._lock = self._allocate()
        self._working = self._forking = None
