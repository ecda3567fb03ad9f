"""The thread that serves the status address, in each worker, and runs what is due each second.

Who owns what. The arbiter opens one listening socket before it forks. The threads of all workers
wait on it, so the worker that is free answers, and one does even while all are busy with requests.
A thread owns its connections. It shares nothing with the application but the interpreter.

A thread accepts a connection only once it holds the GIL. If the request has arrived by then
(TCP_DEFER_ACCEPT sees to that), it keeps the GIL up to the answer's last byte. So a worker that is
stuck in C code cannot swallow a request that another worker could answer.

The thread is one of the interpreter's, also where gevent or eventlet have patched threads away, and
answers while their hub is blocked. It takes no lock, imports nothing and logs nothing (`warn` sees
to that): under those two all of this belongs to the hub.

A client that sends nothing, rubbish or half a request holds one of few connections for two seconds.
When all are taken, the one that waited longest is closed.

The address is the arbiter's. When the arbiter dies, its orphans close the listener at once, for the
next arbiter to bind, however long their last requests take. A worker that ends lets the thread
finish the answer that it is about.

What fork does to it: a child has copies of its descriptors, but no such thread. The gate sees that
the thread holds no lock then, see `gate`. Connections are
shut down, not just closed, so that their clients see the end in spite of such copies.
"""

from __future__ import annotations

import _socket
import atexit
import contextlib
import errno
import os
import select
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import unpatched
from .._native._counters import lib
from ..listeners.addresses import Address
from .app import StatusApp
from .gate import ForkGate
from .http import AGAIN, Connection

MAX_CONNECTIONS = 32  # of one thread
TICK_SECONDS = 1.0
FINISH_SECONDS = 0.5
OUT_OF_DESCRIPTORS_SECONDS = 0.25
BACKLOG = 128

FAULTS = {
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}
"""Signals that a thread raises by what it does itself. A thread that blocks one of them is killed
with its process, past every handler (guard.h, faulthandler)."""

_now = time.monotonic


def open_listener(address: Address) -> Any:
    """Return a listening socket on a status address.

    Raises:
        OSError: the address is taken, or not this machine's.
    """
    family, name = address
    if family == _socket.AF_UNIX:
        _remove_stale(name)
    listener = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        if family != _socket.AF_UNIX:
            listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if hasattr(_socket, "TCP_DEFER_ACCEPT"):
                listener.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_DEFER_ACCEPT, 1)
        listener.bind(name)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more. Anything else stays, and bind(2) fails."""
    with contextlib.suppress(OSError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()


def _watched(pid: int) -> int | None:
    """Return a descriptor that gets readable when a process ends; None where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or before 5.3, or it has ended
        return None


class StatusServer:
    """Serves a `StatusApp` on a listening socket, in a thread of its own.

    Args:
        listener: from `open_listener`; None: there is no status address, only the tick.
        app: makes the answers.
        warn: called with a line when something fails.
        arbiter: the pid of this process's parent; when that dies, the listener is closed.
        tick: called once a second, until it raises.
    """

    def __init__(
        self,
        listener: Any,
        app: StatusApp,
        warn: Callable[[str], None],
        arbiter: int,
        tick: Callable[[], object] | None = None,
    ) -> None:
        self._listener = listener
        self._app = app
        self._warn = warn
        self._tick = tick
        self._tick_at = _now()
        self._listening = True
        self._connections: dict[int, Connection] = {}
        self._sleep = unpatched.original("time", "sleep")
        self._poll = unpatched.original("select", "poll")()
        if listener is not None:
            self._poll.register(listener.fileno(), select.POLLIN)
        self._arbiter = _watched(arbiter)
        if self._arbiter is not None:
            self._poll.register(self._arbiter, select.POLLIN)
        self._pid = os.getpid()
        self._answering = self._finishing = False
        self._gate = ForkGate()

    def start(self) -> None:
        """Start the thread. It ends with the process, and takes no signal from the worker."""
        atexit.register(self._finish)
        blocked = signal.valid_signals() - FAULTS
        mask = signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        try:
            unpatched.original("_thread", "start_new_thread")(self._run, ())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _finish(self) -> None:
        """Take no more connections, and wait for the answer under way, in which the interpreter's
        end would stop the thread. A child that the application forked has no such thread."""
        until = _now() + FINISH_SECONDS
        if self._pid == os.getpid():
            self._finishing = True
            while self._answering and _now() < until:
                self._sleep(0.001)

    def _run(self) -> None:
        while self._listening or self._connections:
            try:
                ready = self._poll.poll(self._patience())
                with self._gate:
                    self._turn(ready)
            except Exception as error:  # no failure in here may reach the application
                self._warn(f"the status thread ends: {type(error).__name__}: {error}")
                return
            finally:
                self._answering = False

    def _turn(self, ready: list[tuple[int, int]]) -> None:
        self._answering = True
        for fd, event in ready:
            if fd == self._arbiter:
                self._stop_listening()
            elif self._listener is not None and fd == self._listener.fileno():
                shut = event != select.POLLIN  # by the arbiter, which listens elsewhere now
                self._stop_listening() if shut or self._finishing else self._accept()
            elif fd in self._connections:
                self._advance(self._connections[fd])
        for connection in list(self._connections.values()):
            if connection.deadline <= _now():
                self._drop(connection).expire()
        if self._tick is not None and self._tick_at <= _now():
            self._tick_at = _now() + TICK_SECONDS
            self._do(self._tick)

    def _do(self, tick: Callable[[], object]) -> None:
        try:
            tick()
        except Exception as error:  # whatever it is, the status is answered
            self._tick = None
            self._warn(f"what is due each second is left out: {type(error).__name__}: {error}")

    def _stop_listening(self) -> None:
        """Close the listener; other processes may still have it."""
        if self._arbiter is not None:
            self._poll.unregister(self._arbiter)
            os.close(self._arbiter)
            self._arbiter = None
        self._listening = False
        if self._listener is not None and self._listener.fileno() >= 0:
            self._poll.unregister(self._listener.fileno())
            self._listener.close()

    def _patience(self) -> float | None:
        """Milliseconds until the first deadline; None without one."""
        deadlines = [connection.deadline for connection in self._connections.values()]
        if self._tick is not None:
            deadlines.append(self._tick_at)
        return max(0.0, min(deadlines) - _now()) * 1000 + 1 if deadlines else None

    def _accept(self) -> None:
        fd = lib.grd_accept(self._listener.fileno())
        if fd < 0:
            if fd not in (*AGAIN, -errno.ECONNABORTED):
                self._sleep(OUT_OF_DESCRIPTORS_SECONDS)  # the listener stays readable: do not spin
            return  # another worker's thread was quicker
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop(next(iter(self._connections.values()))).close()
        connection = Connection(fd, self._app)
        self._connections[fd] = connection
        self._poll.register(fd, connection.events)
        self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        if not connection.step():
            self._drop(connection).close()
        else:
            self._poll.modify(connection.fd, connection.events)

    def _drop(self, connection: Connection) -> Connection:
        del self._connections[connection.fd]
        self._poll.unregister(connection.fd)
        return connection
