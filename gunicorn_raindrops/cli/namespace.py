"""Asking the kernel in another process's network namespace (network_namespaces(7)).

A netlink socket belongs to the namespace that it was opened in, whoever uses it later. So a thread
enters the namespace, opens a socket and ends; nothing else of this process is ever in there.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import NoReturn

from ..listeners import InetDiagSocket

_CLONE_NEWNET = 0x40000000  # linux/sched.h


class Unreachable(InetDiagSocket):
    """Stands in for the socket of a namespace that may not be entered: asking fails.

    Args:
        reason: why.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def fileno(self) -> NoReturn:
        """Raise OSError, with no number that would have the question asked in another way."""
        raise OSError(self._reason)

    def close(self) -> None:
        """Do nothing."""


def diag_socket(pid: int) -> InetDiagSocket:
    """Return a socket for sock_diag in the network namespace of a process.

    Raises:
        OSError: there is no such process, or no netlink.
    """
    target = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.path.samestat(os.fstat(target), Path("/proc/self/ns/net").stat()):
            return InetDiagSocket()
        return _open_inside(target)
    except PermissionError:
        return Unreachable("they are in a network namespace that this user may not enter")
    finally:
        os.close(target)


def _open_inside(namespace: int) -> InetDiagSocket:
    opened: list[InetDiagSocket] = []
    failed: list[OSError] = []

    def enter() -> None:
        try:
            _setns(namespace)
            opened.append(InetDiagSocket())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return opened[0]


def _setns(namespace: int) -> None:
    """Have the calling thread enter a network namespace."""
    if sys.version_info >= (3, 12):
        os.setns(namespace, _CLONE_NEWNET)
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
