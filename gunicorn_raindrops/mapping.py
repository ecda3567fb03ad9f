"""Shared pages: where they come from (an unnamed file, or the user's), and how they are mapped.

Who owns them: whoever holds a `Mapping`; the pages go with its last reference, in each process for
itself. What fork does to them: nothing. Parent and child have the same pages.
"""

from __future__ import annotations

import contextlib
import errno
import operator
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ._native._scoreboard import ffi, lib

if TYPE_CHECKING:
    from typing_extensions import Self

File = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | Any


def open_shared(file: File | None, name: str = "raindrops") -> int:
    """Return a new descriptor of what `file` names, or of a new unnamed file.

    What a path names must be this user's alone: whoever can plant a link in the folder, or write to
    the file, would have us fill another file, or count what was made up. A descriptor or a file
    object is the caller's own choice.

    Raises:
        PermissionError: a path names a link, another user's file, or one that others may write to.
        OSError: it cannot be opened for reading and writing.
        ValueError: it is not a regular file.
        TypeError: it is not a path, a descriptor or a file object.
    """
    if file is None:
        return _unnamed(name)
    is_path = isinstance(file, (str, bytes, os.PathLike))
    fd = _open(file) if is_path else os.dup(_descriptor(file))
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{file!r} is not a regular file")
        if is_path:
            _check_owner(file, found)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open(path: Any) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        if stat.S_ISLNK(_mode_of(path)):
            raise PermissionError(f"{path!r} is a symbolic link, which is not followed") from error
        raise


def _mode_of(path: Any) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def _check_owner(path: Any, found: os.stat_result) -> None:
    """Raise PermissionError unless a file is this user's alone, by its only name."""
    if found.st_uid != os.geteuid():
        owner = f"belongs to user {found.st_uid}, not to user {os.geteuid()}"
        raise PermissionError(f"{path!r} {owner} of this process")
    if found.st_nlink > 1:
        raise PermissionError(f"{path!r} has {found.st_nlink} hard links; one is safe")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise PermissionError(f"{path!r} may be written by others (mode {mode:o}; chmod go-w)")


def _descriptor(file: Any) -> int:
    if isinstance(file, bool) or not (isinstance(file, int) or hasattr(file, "fileno")):
        raise TypeError(
            f"file must be a path, a descriptor or a file object, not {type(file).__name__}"
        )
    return file if isinstance(file, int) else operator.index(file.fileno())


def _unnamed(name: str) -> int:
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def reserve(fd: int, length: int) -> None:
    """Make the file at least `length` bytes long, with blocks behind all of them.

    Without blocks a full disk would show much later, as a SIGBUS in whoever counts.

    Raises:
        OSError: there is no room for them.
    """
    if length > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        # the kernel would give an unnamed file pages until it kills somebody for want of them
        raise OSError(errno.ENOMEM, f"{length} bytes are more than this machine's memory")
    found = os.fstat(fd)
    if hasattr(os, "posix_fallocate"):
        if found.st_size < length or found.st_blocks * 512 < length:  # short, or sparse: a copy
            os.posix_fallocate(fd, 0, length)
    elif found.st_size < length:
        os.ftruncate(fd, length)


def reserve_lazily(fd: int, length: int) -> None:
    """Make an unnamed file at least `length` bytes long; its pages come when they are touched.

    Such a file lies in memory and has no limit of its own, so a page that cannot be had is what it
    is for any memory, and no SIGBUS.

    Raises:
        OSError: there is no room for them.
    """
    if not hasattr(os, "memfd_create"):  # it is a temporary file on some disk
        reserve(fd, length)
    elif os.fstat(fd).st_size < length:
        os.ftruncate(fd, length)


def seal(fd: int) -> None:
    """Forbid shrinking an unnamed file; a named one cannot be sealed and stays as it is."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)


def location_of(pointer: Any) -> int:
    """Return a pointer of cffi's as a number, for native types that take no cffi objects."""
    return int(ffi.cast("uintptr_t", pointer))


class Mapping:
    """Shared pages of a file, from its beginning; they go when the last reference does.

    The pages of a named file are guarded: a process that cuts the file short kills nobody (see
    guard.h); they are `lost` then. An unnamed file of ours is sealed. So only a reader, which may
    have been given anything, guards such a one, too.

    Args:
        fd: the file's descriptor.
        length: bytes.
        read_only: writing to the pages kills this process (SIGSEGV).
    """

    def __init__(self, fd: int, length: int, *, read_only: bool = False) -> None:
        address = (lib.grd_map_read_only if read_only else lib.grd_map)(fd, length)
        if address == ffi.NULL:
            raise OSError(ffi.errno, f"cannot map {length} bytes: {os.strerror(ffi.errno)}")
        is_guarded = read_only or os.fstat(fd).st_nlink
        guard = lib.grd_guard(address, length) if is_guarded else -1
        self.length = length
        self.address = ffi.gc(address, partial(_unmap, guard, length), length)
        self._guard = guard

    @property
    def location(self) -> int:
        """The address as a number, for native types that keep this mapping beside it."""
        return location_of(self.address)

    @property
    def lost(self) -> bool:
        """Whether the file was cut short: no other process sees what is written here."""
        return bool(lib.grd_lost(self._guard))

    def watch(self) -> None:
        """Put the guard in front again if another handler of the signal has replaced it."""
        if self._guard >= 0:
            lib.grd_guard_watch()


class Shared:
    """An object that holds a descriptor of its memory; a native type beside it holds the pages."""

    _fd: int
    _check_open: Callable[[], Mapping]
    _close: Callable[[], None]

    def fileno(self) -> int:
        """Return the descriptor of the memory. It stays ours and goes at `close`."""
        self._check_open()
        return self._fd

    def close(self) -> None:
        """Let go of the memory, in this process only; a second time does nothing."""
        self._close()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)


def _unmap(guard: int, length: int, address: Any) -> None:
    lib.grd_unguard(guard)
    lib.grd_unmap(address, length)
