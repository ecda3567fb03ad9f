"""The listening sockets of another process, from /proc (proc_pid_net(5)).

/proc/PID/net is the process's own network namespace, which needs no entering to be read. It has a
socket's inode; a link in /proc/PID/fd has that, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import proc

_SOCKET = re.compile(r"socket:\[(\d+)\]")
_FLAGS = re.compile(r"^flags:\s+([0-7]+)", re.MULTILINE)
_LISTENS = b"0A"  # TCP_LISTEN, net/tcp_states.h
_IN_HANDSHAKE = b"03"  # TCP_SYN_RECV: older kernels show them between the listeners
_ACCEPTS = 1 << 16  # __SO_ACCEPTCON
_INET, _INET6 = ("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)


class Listening(NamedTuple):
    """A listening socket of another process, as a Sampler takes one."""

    family: int
    address: Any

    def getsockname(self) -> Any:
        """Return its address."""
        return self.address

    def fileno(self) -> int:
        """Raise OSError: this process has no descriptor of it."""
        raise OSError(errno.EBADF, "another process has it")


def listeners(pid: int, *, inheritable: bool = False) -> dict[int, Listening]:
    """Return the listening sockets of a process, by inode.

    Args:
        pid: the process.
        inheritable: only those that stay open at an exec. A gunicorn arbiter's listeners do, for an
            upgrade (USR2). The status listener does not, nor does gunicorn's control socket, nor
            what other code has opened: Python closes these (PEP 446).

    Raises:
        OSError: the process cannot be looked at.
    """
    inodes = set(_sockets(pid, inheritable))
    return {inode: one for inode, one in _all_of(pid) if inode in inodes} if inodes else {}


def _sockets(pid: int, inheritable: bool) -> Iterator[int]:
    """Yield the inodes of a process's sockets."""
    for fd, link in proc.descriptors(pid):
        found = _SOCKET.fullmatch(link)
        with contextlib.suppress(*proc.GONE):  # closed meanwhile
            if found and not (inheritable and _is_closed_at_exec(pid, fd)):
                yield int(found[1])


def _is_closed_at_exec(pid: int, fd: str) -> bool:
    flags = _FLAGS.search(Path(f"/proc/{pid}/fdinfo/{fd}").read_text())
    return flags is not None and bool(int(flags[1], 8) & os.O_CLOEXEC)


def _all_of(pid: int) -> Iterator[tuple[int, Listening]]:
    """Yield each listener of a process's network namespace, after its inode."""
    for name, family in (_INET, _INET6):
        with contextlib.suppress(FileNotFoundError):  # no IPv6
            yield from _inet(f"/proc/{pid}/net/{name}", family)
    yield from _unix(f"/proc/{pid}/net/unix")


def _inet(path: str, family: int) -> Iterator[tuple[int, Listening]]:
    with open(path, "rb") as file:
        next(file)
        for line in file:
            _, local, _, state, _, _, _, _, _, inode, *_ = line.split()
            if state == _LISTENS:
                yield int(inode), Listening(family, _inet_address(family, local))
            elif state != _IN_HANDSHAKE:  # the connections follow: there may be many
                return


def _inet_address(family: int, text: bytes) -> tuple[str, int]:
    """Return host and port of `0100007F:1F90`: words of 32 bits in this machine's order."""
    host, _, port = text.partition(b":")
    words = (int(host[at : at + 8], 16) for at in range(0, len(host), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return socket.inet_ntop(family, packed), int(port, 16)


def _unix(path: str) -> Iterator[tuple[int, Listening]]:
    for line in Path(path).read_bytes().split(b"\n")[1:]:
        # Num, RefCount, Protocol, Flags, Type, St, Inode, Path; a path may have any byte in it
        words = line.split(None, 7)
        with contextlib.suppress(ValueError, IndexError):
            if int(words[3], 16) & _ACCEPTS:
                yield int(words[6]), Listening(socket.AF_UNIX, os.fsdecode(words[7]))
