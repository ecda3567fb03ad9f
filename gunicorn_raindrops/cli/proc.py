"""What /proc tells of other processes (proc(5)): who they are, and which scoreboards they use.

The kernel lets a process look at those of its own user, and root at all. Every function here raises
PermissionError for a process that may not be looked at, and one of GONE for none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .._native._scoreboard import lib
from ..scoreboard import layout

GONE = (FileNotFoundError, ProcessLookupError)

_UNNAMED = f"/memfd:{layout.NAME} (deleted)"
_HZ = os.sysconf("SC_CLK_TCK")

File = tuple[int, int]
"""Device and inode."""


def pids() -> list[int]:
    """Return the pids that there are."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def parent(pid: int) -> int:
    """Return the parent of a process; 0 if it has none here."""
    return int(_status(pid, "PPid")[0])


def inner_pid(pid: int) -> int:
    """Return the pid of a process as its own PID namespace has it."""
    return int(_status(pid, "NSpid")[-1])


def _status(pid: int, field: str) -> list[str]:
    for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.split()
    raise OSError(errno.ENOSYS, f"this kernel tells no {field}")


def started(pid: int) -> float | None:
    """Return when a process started, in seconds of the monotonic clock; None if it is not known."""
    ticks = lib.grd_process_start(pid)
    asleep = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return ticks / _HZ - asleep if ticks > 0 else None


def folder(pid: int) -> str | None:
    """Return the working folder of a process; None if it may not be known."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/cwd").readlink())
    return None


def descriptors(pid: int) -> Iterator[tuple[str, str]]:
    """Yield the descriptors of a process: the number of each, and what it is."""
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(*GONE):  # closed meanwhile
                yield entry.name, os.readlink(entry.path)  # noqa: PTH115  # there are thousands


# Scoreboards.


class Found(NamedTuple):
    """A scoreboard in a process: which file it is, and a name to open it by."""

    file: File
    name: str


def scoreboards(pid: int) -> Iterator[Found]:
    """Yield those that a process has open. An unnamed one is known by its name, which any program
    may give; one in a file by its lock and its magic."""
    for fd, link in descriptors(pid):
        name = f"/proc/{pid}/fd/{fd}"
        with contextlib.suppress(*GONE):  # closed meanwhile
            if link == _UNNAMED or (link.startswith("/") and _is_locked_board(pid, fd)):
                found = Path(name).stat()
                yield Found((found.st_dev, found.st_ino), name)


def _is_locked_board(pid: int, fd: str) -> bool:
    """Tell whether a descriptor has the lock of a scoreboard's file (see `scoreboard.lock`). No
    other file is opened: that can block, or be noticed."""
    info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
    return "FLOCK" in info and has_magic(f"/proc/{pid}/fd/{fd}")


def mapped(pid: int) -> dict[int, str]:
    """Return the shared files that a process has mapped: for each inode a name that root can open.
    A worker has closed its descriptor of the scoreboard, but not these."""
    found = {}
    for line in os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).splitlines():
        pages, access, _, _, inode, *_ = line.split(None, 5)
        if access.endswith("s"):
            found[int(inode)] = f"/proc/{pid}/map_files/{pages}"
    return found


def has_magic(name: str) -> bool:
    """Tell whether a regular file begins like a scoreboard, and can be read."""
    with contextlib.suppress(OSError):
        if not Path(name).is_file():
            return False
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.pread(fd, len(layout.MAGIC), 0) == layout.MAGIC
        finally:
            os.close(fd)
    return False
