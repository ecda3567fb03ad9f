"""The lock on a scoreboard's file: which processes use the file, and that no other adopts it.

It is flock(2): the kernel's, for all PID namespaces, and gone with the process that holds it. One
process has it exclusively while it makes the file right. From then on each process that uses the
file as a server holds it shared.

What fork does to it. flock belongs to an open file description, and a child inherits that. So a
helper that an application forks would hold the lock for as long as it lives. Therefore the lock is
on a description of its own, which a child closes at the fork (forks.h), also one that C code forks.
A child that is to hold the lock takes it anew.
"""

from __future__ import annotations

import fcntl
import os
import weakref

from .._native._scoreboard import lib


class FileLock:
    """A lock on the file behind a descriptor, held by this process alone.

    Where there is no /proc it is on the descriptor itself, and children inherit it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = -1
        self._fd = _reopen(fd)
        lib.grd_close_in_every_child(self._fd)
        _held.add(self)

    def exclude(self) -> None:
        """Hold it exclusively.

        Raises:
            BlockingIOError: another process holds it.
        """
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def share(self) -> None:
        """Hold it shared, from now on.

        The kernel lets go of an exclusive lock before it takes the shared one. So another process
        may have come in between, and the file may be that one's.

        Raises:
            BlockingIOError: another process holds it exclusively; this one has lost it.
        """
        fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    @property
    def is_held(self) -> bool:
        """Whether this process has it; a child of the one that took it has not."""
        return self._fd >= 0

    def close(self) -> None:
        """Let go of it, in this process."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            lib.grd_keep_in_children(fd)
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def _reopen(fd: int) -> int:
    """Return another open file description of the same file."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # no /proc
        return os.dup(fd)


_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _close_all() -> None:
    for lock in list(_held):
        lock.close()


os.register_at_fork(after_in_child=_close_all)
