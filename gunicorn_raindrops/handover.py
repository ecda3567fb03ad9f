"""What one arbiter leaves to the next (USR2): the scoreboard, the status listener, the counters.

The old arbiter forks, and its child executes the new one. In between, `hand_over` makes the
descriptors of what they share inheritable, and names them in a variable of the environment. The
new arbiter's `Inherited` takes them over.

Trust the variable only if our parent set it: the environment may be stale. Trust a descriptor only
if its inode and its kind are the named ones.
"""

from __future__ import annotations

import _socket
import contextlib
import json
import os
import stat
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from .scoreboard.app_counters import UserCounters
from .scoreboard.board import Scoreboard

INHERITED = "RAINDROPS_INHERITED"
"""Variable in which an arbiter names its descriptors for the one that it executes."""


def hand_over(
    board: Scoreboard,
    kept: Mapping[str, Any],
    *,
    listener: Any = None,
    bind: str = "",
    file: tuple[int, int] | None = None,
    counters: UserCounters | None = None,
) -> dict[str, str]:
    """Return the variables by which the next arbiter finds what this one shares.

    To be called in the process that is about to execute the next arbiter: its descriptors thereby
    stay open.

    Args:
        board: the scoreboard.
        kept: settings that it was made with.
        listener: the status listener, a socket; None: there is none.
        bind: the setting that the listener was opened for.
        file: device and inode of a unix listener's file, if they are known.
        counters: the user's counters; None: there are none.
    """
    left: dict[str, Any] = {"pid": os.getppid(), "kept": dict(kept)}
    left["board"] = _offer(board.fileno())
    if listener is not None:
        left["status"] = _offer(listener.fileno())
        left["bind"] = bind
        left["file"] = file
    if counters is not None:
        left["counters"] = [_offer(fd) for fd in counters.descriptors()]
        left["shape"] = counters.shape()
    return {INHERITED: json.dumps(left)}


def _offer(fd: int) -> tuple[int, int]:
    os.set_inheritable(fd, True)
    return fd, os.fstat(fd).st_ino


class Inherited:
    """What the arbiter that executed this one has left to it; nothing where there was none.

    Args:
        environ: of this process. The variable is removed: it is nobody else's.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._left: dict[str, Any] = {}
        with contextlib.suppress(KeyError, TypeError, ValueError):
            left = json.loads(environ.pop(INHERITED))
            if left["pid"] == os.getppid():
                self._left = left

    def board(self) -> Scoreboard | None:
        """Return the scoreboard. Without one the rest counts as not left: it belongs to it."""
        with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
            return Scoreboard.adopt(_accept(self._left["board"], stat.S_ISREG))
        self._left = {}
        return None

    def kept(self) -> dict[str, Any]:
        """Return the settings that the scoreboard was made with."""
        with contextlib.suppress(TypeError, ValueError):
            return dict(self._left.get("kept", {}))
        return {}

    def listener(self, bind: str) -> Any:
        """Return the status listener if it was opened for this `bind`, else None."""
        with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
            fd = _accept(self._left["status"], stat.S_ISSOCK)
            if self._left["bind"] == bind:
                return _socket.socket(fileno=fd)
            os.close(fd)
        return None

    def file(self) -> tuple[int, int] | None:
        """Return device and inode of the status listener's file, if it has one that is known."""
        with contextlib.suppress(KeyError, TypeError, ValueError):
            device, inode = map(int, self._left["file"])
            return device, inode
        return None

    def counters(self, counters: UserCounters) -> None:
        """Have the user's counters go on from where they were, if they have the same shape."""
        with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
            descriptors = [_accept(named, stat.S_ISREG) for named in self._left["counters"]]
            if self._left["shape"] == json.loads(json.dumps(counters.shape())):
                counters.adopt(descriptors)
            for fd in descriptors:
                os.close(fd)


def _accept(named: tuple[int, int], is_kind: Callable[[int], bool]) -> int:
    """Return an offered descriptor.

    Raises:
        ValueError: it is not the offered file any more.
        OSError: it is closed.
    """
    fd, inode = named
    found = os.fstat(fd)
    if found.st_ino != inode or not is_kind(found.st_mode):
        raise ValueError(f"descriptor {fd} is not what was handed over")
    os.set_inheritable(fd, False)
    return fd
