"""Unix sockets by name: which of the kernel's rows a path means.

A path alone does not tell. Its file may have been replaced since a socket was bound to it, it may
be a link, or a socket may have been bound under another name of the same file. The file's inode,
which unix_diag reports beside the name, decides.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .addresses import sun_path, unix_text

UNKNOWN = 2**64 - 1  # UINT64_MAX in _native/inet_diag.h

# Num, RefCount, Protocol, Flags, Type, St, Inode, Path (proc_pid_net(5))
_LINE = re.compile(rb"^\S+: \S+ \S+ (\S+) \S+ (\S+) +\d+ (.+)$", re.MULTILINE)
_ACCEPTS = 1 << 16  # __SO_ACCEPTCON
_CONNECTING, _CONNECTED = 2, 3  # linux/net.h

_MOST_LINKS = 40  # MAXSYMLINKS


class Listener(NamedTuple):
    """One listening socket; figures the kernel does not tell are UNKNOWN."""

    name: bytes  # as in sun_path: an abstract one begins with NUL
    inode: int  # of its file, the lower 32 bits; 0: not known
    device: int  # the kernel's number for it
    active: int
    queued: int
    backlog: int
    waiting: int = UNKNOWN
    bodies: int = UNKNOWN


def links(path: str) -> Iterator[str]:
    """Yield `path` and, while it is a symbolic link, what it points to."""
    for _ in range(_MOST_LINKS):
        yield path
        if path.startswith("@"):
            return
        try:
            path = str(Path(path).parent / Path(path).readlink())
        except OSError:
            return


def by_name(listeners: Iterable[Listener]) -> dict[bytes, list[Listener]]:
    """Group listeners by name: several were bound to one path in turn."""
    groups: dict[bytes, list[Listener]] = {}
    for listener in listeners:
        groups.setdefault(listener.name, []).append(listener)
    return groups


def reachable(path: str, groups: dict[bytes, list[Listener]]) -> list[Listener]:
    """Return the listeners that a connect(2) to `path` would meet.

    Without a file to compare with (gone, in another mount namespace, on a file system that tells
    stat(2) another device than the kernel uses) the name alone decides.
    """
    named = groups.get(sun_path(path)) or groups.get(sun_path(_resolved(path)), [])
    file = _file(path)
    if file is None:
        return named
    here = [one for one in named if one.device == file[1]]
    if here:
        return [one for one in here if one.inode == file[0]]
    return named or [
        one for group in groups.values() for one in group if (one.inode, one.device) == file
    ]


def listing(groups: dict[bytes, list[Listener]]) -> Iterator[tuple[str, list[Listener]]]:
    """Yield each name with its listener: where there are several, with the one in reach."""
    for name, group in groups.items():
        readable = unix_text(name)
        yield readable, (reachable(readable, groups) or group) if len(group) > 1 else group


def _resolved(path: str) -> str:
    try:
        return path if path.startswith("@") else str(Path(path).resolve())
    except (OSError, RuntimeError):  # a loop of links; RuntimeError before Python 3.13
        return path


def _file(path: str) -> tuple[int, int] | None:
    """Return inode and device as unix_diag gives them: 32 bits; MKDEV of linux/kdev_t.h."""
    if path.startswith("@"):
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    device = os.major(found.st_dev) << 20 | os.minor(found.st_dev)
    return found.st_ino & 0xFFFFFFFF, device


def proc_net_unix(path: str = "/proc/net/unix") -> list[Listener]:
    """Read the listeners where unix_diag is missing; that file has no backlogs and no inodes."""
    rows = _LINE.findall(Path(path).read_bytes())
    listening, active, queued = set(), dict[bytes, int](), dict[bytes, int]()
    for flags, state, name in rows:
        if int(flags, 16) & _ACCEPTS:
            listening.add(name)
        elif int(state, 16) == _CONNECTED:
            active[name] = active.get(name, 0) + 1
        elif int(state, 16) == _CONNECTING:
            queued[name] = queued.get(name, 0) + 1
    return [
        Listener(sun_path(os.fsdecode(n)), 0, 0, active.get(n, 0), queued.get(n, 0), UNKNOWN)
        for n in sorted(listening)
    ]
