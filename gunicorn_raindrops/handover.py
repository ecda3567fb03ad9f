"""What one arbiter leaves to the next (USR2): the scoreboard, the status listener, the counters.

The old arbiter forks, and its child executes the new one. In between, `hand_over` makes the
descriptors of what they share inheritable, and names them in a variable of the environment. The
new arbiter's `Inherited` takes them over.

Trust the variable only if our parent set it: the environment may be stale. Trust a descriptor only
if its inode and its kind are the named ones. What cannot be trusted is warned of, and not used. A
well-formed variable of another process's is passed over silently.
"""

from __future__ import annotations

import _socket
import contextlib
import json
import os
import stat
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from .environment import INHERITED
from .scoreboard.app_counters import UserCounters
from .scoreboard.board import Scoreboard
from .status.listener import File, StatusListener

_Result = TypeVar("_Result")
_TOO_LARGE = 1 << 64  # for an inode
_LAST_FD = (1 << 31) - 1


def hand_over(
    board: Scoreboard,
    kept: Mapping[str, Any],
    *,
    listener: StatusListener | None = None,
    counters: UserCounters | None = None,
) -> dict[str, str]:
    """Return the variables by which the next arbiter finds what this one shares.

    To be called in the process that is about to execute the next arbiter: its descriptors thereby
    stay open.

    Args:
        board: the scoreboard.
        kept: settings that it was made with.
        listener: the status listener; None: there is none that is open.
        counters: the user's counters; None: there are none.
    """
    left: dict[str, Any] = {"pid": os.getppid(), "kept": dict(kept)}
    left["board"] = _offer(board.fileno())
    if listener is not None:
        left["status"] = _offer(listener.sock.fileno())
        left["bind"] = listener.bind
        left["file"] = listener.file
    if counters is not None:
        left["counters"] = [_offer(fd) for fd in counters.descriptors()]
        left["shape"] = counters.shape()
    return {INHERITED: json.dumps(left)}


def _offer(fd: int) -> tuple[int, int]:
    os.set_inheritable(fd, True)
    return fd, os.fstat(fd).st_ino


class _Named(NamedTuple):
    """A descriptor, and the inode that it must have."""

    fd: int
    inode: int


@dataclass(frozen=True)
class _Left:
    """What the variable says; what it leaves out was not there."""

    board: _Named
    kept: dict[str, Any]
    status: _Named | None
    bind: str
    file: File | None
    counters: list[_Named]
    shape: Any


class Inherited:
    """What the arbiter that executed this one has left to it; nothing where there was none.

    Whatever is wrong with it becomes one warning, and what it is wrong with begins anew.

    Args:
        environ: of this process. The variable is removed: it is nobody else's.
        warn: called with a line, at most once.
    """

    def __init__(self, environ: MutableMapping[str, str], warn: Callable[[str], None]) -> None:
        self._warn: Callable[[str], None] | None = warn
        variable = environ.pop(INHERITED, None)
        self._left = None if variable is None else self._try(lambda: _parse(variable))

    def _try(self, step: Callable[[], _Result]) -> _Result | None:
        try:
            return step()
        except Exception as error:  # whatever the variable says, the server starts
            if self._warn is not None:
                self._warn(f"{INHERITED} is not as an arbiter leaves it: {error}; starting anew")
                self._warn = None
            return None

    def board(self) -> Scoreboard | None:
        """Return the scoreboard. Without one the rest counts as not left: it belongs to it."""
        left = self._left
        if left is None:
            return None
        board = self._try(lambda: _with(left.board, stat.S_ISREG, Scoreboard.adopt))
        if board is None:
            self._left = None
            _close(left)
        return board

    def kept(self) -> dict[str, Any]:
        """Return the settings that the scoreboard was made with."""
        return {} if self._left is None else self._left.kept

    def listener(self, bind: str) -> Any:
        """Return the status listener if it was opened for this `bind`, else None."""
        left = self._left
        if left is None or left.status is None:
            return None
        use = _socket_of if left.bind == bind else os.close
        status = left.status
        return self._try(lambda: _with(status, stat.S_ISSOCK, use))

    def file(self) -> File | None:
        """Return device and inode of the status listener's file, if it has one that is known."""
        return None if self._left is None else self._left.file

    def counters(self, counters: UserCounters) -> None:
        """Have the user's counters go on from where they were, if they have the same shape."""
        left = self._left
        if left is None or not left.counters:
            return
        if left.shape == json.loads(json.dumps(counters.shape())):
            self._try(lambda: counters.adopt([_accept(one, stat.S_ISREG) for one in left.counters]))
        for one in left.counters:
            _close_one(one, stat.S_ISREG)


def _socket_of(fd: int) -> Any:
    return _socket.socket(fileno=fd)


# What the variable says.


def _parse(variable: str) -> _Left | None:
    """Return what the variable says; None if it was another process's: the environment is stale.

    Raises:
        Exception: of any kind, where it is not what `hand_over` makes.
    """
    left = json.loads(variable)
    if _number(left["pid"]) != os.getppid():
        return None
    found = _Left(
        board=_named(left["board"]),
        kept=_of(dict, left["kept"]),
        status=_named(left["status"]) if "status" in left else None,
        bind=_of(str, left.get("bind", "")),
        file=_pair(left["file"]) if left.get("file") is not None else None,
        counters=[_named(one) for one in _of(list, left.get("counters", []))],
        shape=left.get("shape"),
    )
    fds = [one.fd for one in _all(found)]
    if len(set(fds)) < len(fds):
        raise ValueError("it names a descriptor twice")
    return found


def _all(left: _Left) -> list[_Named]:
    return [left.board, *left.counters] + ([left.status] if left.status else [])


def _of(kind: type[_Result], value: Any) -> _Result:
    if type(value) is not kind:
        raise ValueError(f"a {kind.__name__} is expected where there is a {type(value).__name__}")
    return value


def _number(value: Any) -> int:
    if not 0 <= _of(int, value) < _TOO_LARGE:
        raise ValueError("a number is too large, or negative")
    return int(value)


def _pair(value: Any) -> tuple[int, int]:
    first, second = map(_number, _of(list, value))
    return first, second


def _named(value: Any) -> _Named:
    fd, inode = _pair(value)
    if fd > _LAST_FD:
        raise ValueError("a number is too large for a descriptor")
    return _Named(fd, inode)


# Descriptors.


def _accept(named: _Named, is_kind: Callable[[int], bool]) -> int:
    """Return an offered descriptor.

    Raises:
        ValueError: it is not the offered file any more.
        OSError: it is closed.
    """
    found = os.fstat(named.fd)
    if found.st_ino != named.inode or not is_kind(found.st_mode):
        raise ValueError(f"descriptor {named.fd} is not what was handed over")
    os.set_inheritable(named.fd, False)
    return named.fd


def _with(named: _Named, is_kind: Callable[[int], bool], use: Callable[[int], _Result]) -> _Result:
    """Return what is made of an offered descriptor; it is closed if that fails."""
    fd = _accept(named, is_kind)
    try:
        return use(fd)
    except BaseException:
        _close_one(named, is_kind)
        raise


def _close(left: _Left) -> None:
    """Close what has come with a scoreboard that cannot be used: an open status listener would
    keep its address from this server itself."""
    if left.status is not None:
        _close_one(left.status, stat.S_ISSOCK)
    for one in left.counters:
        _close_one(one, stat.S_ISREG)


def _close_one(named: _Named, is_kind: Callable[[int], bool]) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.close(_accept(named, is_kind))
