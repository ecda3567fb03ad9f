"""The memory of a scoreboard: how one is made, adopted or joined, and who may use its file.

Who owns it. An unnamed file (a memfd, sealed) belongs to an arbiter and the processes that it
forks; the user's file belongs to one server at a time. An arbiter that adopts a file keeps its
totals, makes the header right, and frees the slots of processes that are gone. Meanwhile no other
process uses the file. During an upgrade the next arbiter adopts the descriptor, and both use the
memory. A server without an arbiter of ours has a file that its processes join, see `join`.

What fork does to it: the pages and the descriptor stay shared; the lock does not (see `lock`).
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from .. import mapping as pages
from .._native._scoreboard import ffi, lib
from . import layout
from .lock import FileLock
from .reader import BoardReader
from .reap import Reaper

if TYPE_CHECKING:
    from typing_extensions import Self


class BoardMemory(BoardReader):
    """The memory of a scoreboard, for a process that serves.

    A file is locked for one process alone while that makes it right, see `lock`. The lock is the
    kernel's, for all namespaces: no other process uses the file as a server then. So every slot is
    freed that does not belong to a living process of the same boot and PID namespace; an orphan of
    a dead server in another namespace may lose its slot thereby.

    Args:
        slots: how many workers it has room for.
        file: keep it in this file, with the totals that stand there already.
        joinable: other processes may join it by the file, see `join`; an arbiter's is its own.

    Raises:
        ValueError: `file` holds something else, or another format of this.
        BlockingIOError: another server uses `file`.
        OSError: `file` cannot be opened, grown or mapped.
    """

    def __init__(self, slots: int, file: str | None = None, *, joinable: bool = False) -> None:
        self._fd = pages.open_shared(file, layout.NAME)
        self._lock: FileLock | None = None
        try:
            if file is None:
                self._map(slots, named=False)
                pages.seal(self._fd)
                self._make_right(joinable)
            else:
                self._adopt_file(slots, file, joinable)
        except BaseException:
            self.forget_file()
            raise

    def _adopt_file(self, slots: int, file: str, joinable: bool) -> None:
        self._lock = FileLock(self._fd)
        self._lock.exclude()
        self._map(max(slots, layout.slots_of(self._fd, file)), named=True)
        self._make_right(joinable)
        made = self._header.created
        self._lock.share()
        if self._header.created != made:
            raise BlockingIOError("another process has adopted the file")

    @classmethod
    def adopt(cls, fd: int) -> Self:
        """Return the scoreboard behind a descriptor, which another arbiter uses as well.

        Raises:
            ValueError: there is none.
            BlockingIOError: another server has adopted its file.
            OSError: it cannot be mapped.
        """
        board = cls.__new__(cls)
        board._fd = fd
        board._lock = None
        try:
            board.hold_lock()
            slots = layout.slots_of(fd, f"descriptor {fd}")
            if not slots:
                raise ValueError(f"descriptor {fd} is not a scoreboard")
            board._map(slots, named=False)
        except BaseException:
            board._close_lock()
            raise
        return board

    @classmethod
    def join(cls, file: str) -> Self:
        """Return the scoreboard in a file that other processes use, none of them an arbiter.

        Raises:
            ValueError: there is none.
            BlockingIOError: an arbiter has it, or a process is making it right.
            OSError: it cannot be opened or mapped.
        """
        fd = pages.open_shared(file)
        try:
            board = cls.adopt(fd)
        except BaseException:
            os.close(fd)
            raise
        if not board._header.joinable:
            board.forget_file()
            raise BlockingIOError(f"{file} is an arbiter's")
        return board

    def hold_lock(self) -> None:
        """Hold the lock on the file in this process; a child of one that holds it does not.

        Raises:
            BlockingIOError: another process has the file for itself.
        """
        is_held = self._lock is not None and self._lock.is_held
        if not is_held and self._fd >= 0 and os.fstat(self._fd).st_nlink:
            lock = FileLock(self._fd)
            lock.share()
            self._lock = lock

    def _close_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _map(self, slots: int, *, named: bool) -> None:
        length = layout.length_of(slots)
        (pages.reserve if named else pages.reserve_lazily)(self._fd, length)
        self._use(pages.Mapping(self._fd, length), slots)
        self._reaper = Reaper(self._header, self._slots, self._liveness)

    def _make_right(self, joinable: bool) -> None:
        """Make the header right, and free the slots of processes that are gone."""
        header, boot = self._header, layout.boot_id()
        if bytes(ffi.buffer(header.boot_id)).rstrip(b"\0") != boot:
            last = lib.grd_last_mark(header)
            for i in range(self._used()):  # its pids and its instants say nothing here
                lib.grd_forget(header, self._slots + i, last)
            header.marks = ffi.new("struct grd_marks *")[0]
            self._untracked.clear()
            self._wanted.clear()
        now = time.monotonic_ns()
        header.version = layout.VERSION
        header.header_size = layout.HEADER_SIZE
        header.slot_size = layout.SLOT_SIZE
        header.slots = self.slots
        header.length = self._mapping.length
        header.created = now
        header.unix_offset = time.time_ns() - now
        header.boot_id = boot.ljust(lib.GRD_BOOT_ID_SIZE, b"\0")
        header.pid_namespace = lib.grd_pid_namespace()
        header.joinable = joinable
        header.magic = layout.MAGIC
        self._reaper.reap_all_but_ours(self._used())
        self._untracked.reap_all_but_ours()
        self._wanted.reap_all_but_ours()

    def fileno(self) -> int:
        """Return the descriptor of the memory."""
        return self._fd

    def forget_file(self) -> None:
        """Close the descriptor: a worker needs the pages only, and could shrink the file. The lock
        goes with it."""
        self._close_lock()
        if self._fd >= 0:
            lib.grd_keep_in_children(self._fd)
            os.close(self._fd)
            self._fd = -1
