"""Servers of this machine: the one that a process is of, or all of them.

A server is found by its scoreboard, which the arbiter has open; a worker closes its descriptor (see
`Scoreboard.forget_file`), and is known by what it has mapped. Where no arbiter is (servers with
`Middleware`), each process has the scoreboard open.

Any user may give a memory our name and fill it as they like. So what is found is a claim: a
scoreboard is checked before it is mapped, and one that cannot be read is named, and left out.
"""

from __future__ import annotations

import contextlib
import os
import sys

from ..scoreboard.liveness import lives
from ..scoreboard.reader import BoardReader, open_read_only
from . import proc
from .server import Server, Warn
from .terminal import Failed


def _need_proc() -> None:
    if sys.platform != "linux":
        raise Failed("other processes are looked at on Linux only; give the URL of a status")


# By a pid.


def of(pid: int) -> Server:
    """Return the server that a process is the arbiter of, or a worker.

    Raises:
        Failed: there is no such process, or it may not be looked at, or it is none of these.
    """
    _need_proc()
    if not lives(pid):
        raise Failed(f"there is no process {pid}")
    try:
        return _of(pid)
    except PermissionError:
        raise Failed(f"this user may not look at process {pid}") from None
    except proc.GONE:
        raise Failed(f"process {pid} has ended") from None
    except (OSError, ValueError) as error:
        raise Failed(f"process {pid}: {error}") from None


def _of(pid: int) -> Server:
    around = [pid, proc.parent(pid)]
    found = list(proc.scoreboards(pid)) or _mapped_by(pid, around[1])
    if not found:
        raise Failed(
            f"process {pid} uses no scoreboard: no server with gunicorn-raindrops is there"
        )
    file, board = _latest(found)
    around += board.arbiters()
    return _server(board, [one for one in dict.fromkeys(around) if _has(one, file)] or [pid])


def _mapped_by(pid: int, parent: int) -> list[proc.Found]:
    """Return the scoreboard that a worker has mapped, as its parent has it; only root can open a
    mapping itself, which is what is left of an orphan's."""
    mapped = proc.mapped(pid)
    with contextlib.suppress(OSError):
        if found := [one for one in proc.scoreboards(parent) if one.file[1] in mapped]:
            return found
    return [proc.Found((0, 0), name) for name in mapped.values() if proc.has_magic(name)]


def _has(pid: int, file: proc.File) -> bool:
    with contextlib.suppress(OSError):
        return any(one.file == file for one in proc.scoreboards(pid))
    return False


def _latest(found: list[proc.Found]) -> tuple[proc.File, BoardReader]:
    """Return the scoreboard that was made last: an arbiter whose file was cut short has made
    another one."""
    boards, errors = [], []
    for one in found:
        try:
            boards.append((one.file, open_read_only(one.name)))
        except (OSError, ValueError) as error:
            errors.append(error)
    if not boards:
        raise errors[-1]
    return max(boards, key=lambda pair: pair[1].created)


def _server(board: BoardReader, holders: list[int]) -> Server:
    """Return the server of processes that have a scoreboard open."""
    wanted = board.arbiters()
    arbiters = [pid for pid in holders if _inner(pid) in wanted]
    if arbiters:
        return Server(board, tuple(arbiters), True)
    first = [pid for pid in holders if _parent(pid) not in holders]
    return Server(board, tuple(first or holders), False)


def _inner(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return proc.inner_pid(pid)
    return None


def _parent(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return proc.parent(pid)
    return None


# All of them.


def find(warn: Warn) -> list[Server]:
    """Return every server that this user may read.

    Args:
        warn: called with a line for each that is there, but cannot be read.

    Raises:
        Failed: there is none.
    """
    _need_proc()
    opened: dict[proc.File, dict[int, str]] = {}
    hidden = False
    for pid in sorted(proc.pids()):
        try:
            for file, name in proc.scoreboards(pid):
                opened.setdefault(file, {})[pid] = name
        except PermissionError:
            hidden = True
        except proc.GONE:
            continue
    servers = [server for names in opened.values() if (server := _open(names, warn))]
    if not servers:
        others = "; root sees those of other users, too" if hidden and os.geteuid() else ""
        raise Failed(f"no server with gunicorn-raindrops is found{others}")
    return servers


def _open(names: dict[int, str], warn: Warn) -> Server | None:
    """Return the server of some processes that have one scoreboard open, each by a name."""
    pid, name = next(iter(names.items()))
    try:
        return _server(open_read_only(name), list(names))
    except proc.GONE:  # it has ended meanwhile
        return None
    except (OSError, ValueError) as error:
        warn(f"process {pid}: {error}")
        return None
