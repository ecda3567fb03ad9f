"""The status address: the socket that listens on it, and the file of a unix one.

The arbiter makes one socket before it forks, and all workers share it. So whichever process opens
it opens it for all of them: where the address is taken at the start, a worker tries again, and the
others find it open.

A unix socket's file is nobody else's from the moment it is there: its mode is narrowed before
bind(2), whatever the umask. At the end it is removed if it is still the one that was bound.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import Any

from .._native._scoreboard import lib
from ..listeners.addresses import Address, name_of
from ..settings import Settings

BACKLOG = 128

File = tuple[int, int]
"""Device and inode."""


class StatusListener:
    """The socket of a status address, open or not yet.

    Args:
        settings: `bind`, which is not empty, and `mode`.
        sock: one that is open already; None: a new one.
        file: that of the open one, if it is a unix socket's.

    Attributes:
        bind: the setting that it was made for.
        sock: the socket.
        file: of the open unix socket; None if another process has opened it.
    """

    def __init__(self, settings: Settings, sock: Any = None, file: File | None = None) -> None:
        address = settings.address
        assert address is not None
        self.bind, self._address, self._mode = settings.bind, address, settings.mode
        self._path = settings.path
        self.sock = new_socket(address[0]) if sock is None else sock
        self.file = file

    @property
    def is_open(self) -> bool:
        """Whether it listens, whichever process has had it do so."""
        return bool(self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN))

    @property
    def url(self) -> str:
        """Where the status is, for a log."""
        name = name_of(self.sock.family, self.sock.getsockname())
        if self.sock.family == _socket.AF_UNIX:
            return f"unix:{name}, path {self._path}"
        return f"http://{name}{self._path}"

    def open(self) -> None:
        """Listen. One that failed can be tried again.

        Raises:
            OSError: the address is taken, or not this machine's.
        """
        self.file = listen(self.sock, self._address, self._mode) or self.file

    def close_in_children(self) -> None:
        """Have children of this process close their copies, unless it shares them (forks.h)."""
        lib.grd_close_in_children(self.sock.fileno())

    def set_mode(self, mode: int) -> None:
        """Give an open unix socket, and one that is opened later, other permissions."""
        if mode != self._mode and self._has_file():
            with contextlib.suppress(OSError):
                _set_mode(self._address[1], mode)
        self._mode = mode

    def close(self) -> None:
        """Listen no more, in no process that has it: the address is free at once."""
        opened_elsewhere = self.file is None and self._is_on_path()
        with contextlib.suppress(OSError):
            self.sock.shutdown(_socket.SHUT_RDWR)
        lib.grd_keep_in_children(self.sock.fileno())
        self.sock.close()
        if self._has_file():
            Path(self._address[1]).unlink(missing_ok=True)
        elif opened_elsewhere:  # by a worker; nobody listens there any more, unless it is another's
            _remove_stale(self._address[1])

    def _is_on_path(self) -> bool:
        return self.sock.family == _socket.AF_UNIX and _is_bound(self.sock)

    def _has_file(self) -> bool:
        """Whether there is a file of this socket's; another server may have replaced it."""
        with contextlib.suppress(OSError):
            return self.file is not None and _file(self._address[1]) == self.file
        return False


def new_socket(family: int) -> Any:
    """Return a socket that is not bound yet; it never blocks."""
    sock = _socket.socket(family, _socket.SOCK_STREAM)
    sock.setblocking(False)
    if family != _socket.AF_UNIX:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if hasattr(_socket, "TCP_DEFER_ACCEPT"):
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_DEFER_ACCEPT, 1)
    return sock


def listen(sock: Any, address: Address, mode: int) -> File | None:
    """Bind a socket, unless it is, and listen; return the file of a unix one that was bound."""
    file = None
    if not _is_bound(sock):
        if sock.family == _socket.AF_UNIX:
            file = _bind_path(sock, address[1], mode)
        else:
            sock.bind(address[1])
    sock.listen(BACKLOG)
    return file


def _is_bound(sock: Any) -> bool:
    name = sock.getsockname()
    return bool(name if sock.family == _socket.AF_UNIX else name[1])


def _bind_path(sock: Any, path: str, mode: int) -> File:
    _remove_stale(path)
    if sys.platform == "linux":
        os.fchmod(sock.fileno(), mode)  # of this and the umask bind(2) makes the file's mode
        sock.bind(path)
    else:
        mask = os.umask(0o777)  # the file is nobody's until its mode is set
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
    _set_mode(path, mode)
    return _file(path)


def _set_mode(path: str, mode: int) -> None:
    """Set the mode of a socket's file. No link is followed, should one be there by now."""
    if sys.platform != "linux":
        Path(path).lchmod(mode)
        return
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with contextlib.suppress(FileNotFoundError):  # no /proc: narrower by the umask
                os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101  # fchmod takes no O_PATH
    finally:
        os.close(fd)


def _file(path: str) -> File:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more. Anything else stays, and bind(2) fails."""
    with contextlib.suppress(OSError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        probe = _socket.socket(_socket.AF_UNIX)
        try:
            probe.setblocking(False)  # connect(2) waits where too many wait already
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        finally:
            probe.close()


def same_port(one: Address | None, other: Address | None) -> bool:
    """Tell whether two addresses might not be listened on at once."""
    if one is None or other is None or _socket.AF_UNIX in (one[0], other[0]):
        return False
    return bool(one[1][1] == other[1][1] != 0)
