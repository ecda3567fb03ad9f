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

A client that sends nothing, rubbish or half a request holds one of few places for two seconds.
Where there are more clients than places, those go first that have sent nothing, then those that
have their answer, then those that have sent part of a request; of each kind the oldest. So clients
that say nothing drive out only each other.

No failure ends the thread or hangs a client. What fails in a step ends that client's connection,
and what fails elsewhere is tried again. Where no thread can be had, `turn` is called now and then.

The address is the arbiter's. When the arbiter dies, its orphans close the listener at once, for the
next arbiter to bind, however long their last requests take. A worker that ends lets the thread
finish the answer that it is about.

What fork does to it: a child has copies of its descriptors, but no such thread. The gate sees that
the thread holds no lock then (see `gate`). The child closes the listener at once (forks.h).
Connections are shut down, not just closed, so that their clients see the end in spite of such
copies.
"""

from __future__ import annotations

import _socket
import atexit
import errno
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from .. import unpatched
from .._native._scoreboard import lib
from .app import StatusApp
from .boundary import Boundary
from .gate import ForkGate
from .http import AGAIN, Connection

MOST_CONNECTIONS = 8  # of one thread
DESCRIPTORS_PER_PLACE = 32
TICK_SECONDS = 1.0
FINISH_SECONDS = 5.0  # an answer takes milliseconds, and far longer on a starved machine
OUT_OF_DESCRIPTORS_SECONDS = 0.25
FAILED_SECONDS = 0.1

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

_FAILING = "the status thread goes on after a failure"
_now = time.monotonic


def places() -> int:
    """Return how many connections a thread may hold: few of the descriptors that this process may
    have, which are the application's."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, limit // DESCRIPTORS_PER_PLACE))


def _watched(pid: int) -> int | None:
    """Return a descriptor that gets readable when a process ends; None where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or before 5.3, or it has ended
        return None


class StatusServer:
    """Serves a `StatusApp` on a listening socket, in a thread of its own.

    Args:
        listener: a socket from `status.listener`, which may be opened later; None: there is no
            status address, only the tick.
        app: makes the answers.
        warn: called with a line when something fails.
        arbiter: the pid of this process's parent; when that dies, the listener is closed.
        tick: called once a second, with the seconds by which that is late.
        look: called after it; returns in how many seconds it is to be called before the next one,
            None for then.
    """

    def __init__(
        self,
        listener: Any,
        app: StatusApp,
        warn: Callable[[str], None],
        arbiter: int,
        tick: Callable[[float], object] | None = None,
        look: Callable[[], float | None] | None = None,
    ) -> None:
        self._listener = listener
        self._app = app
        self._boundary = Boundary(warn)
        self._tick = tick
        self._look = look
        self._tick_at = self._look_at = _now()
        self._listening = True
        self._is_polled = False
        self._connections: dict[int, Connection] = {}
        self._sleep = unpatched.original("time", "sleep")
        self._poll = unpatched.original("select", "poll")()
        self._notice_listener()
        self._arbiter = _watched(arbiter)
        if self._arbiter is not None:
            self._poll.register(self._arbiter, select.POLLIN)
        self._pid = os.getpid()
        self._answering = self._finishing = False
        self._gate = ForkGate()

    def start(self) -> None:
        """Start the thread. It ends with the process, and takes no signal from the worker."""
        if self._listener is not None:
            lib.grd_close_in_children(self._listener.fileno())
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
        while True:
            try:
                self._serve()
                return
            except Exception:  # there was no memory even to say so
                self._sleep(FAILED_SECONDS)

    def _serve(self) -> None:
        while self._listening or self._connections:
            if not self._boundary.run(_FAILING, self._wait_and_turn, False):
                self._sleep(FAILED_SECONDS)  # do not spin

    def _wait_and_turn(self) -> bool:
        ready = self._poll.poll(self._patience())
        with self._gate:
            self._turn(ready)
        return True

    def turn(self) -> None:
        """Do what can be done without waiting: where there is no thread."""
        if self._listening or self._connections:
            self._boundary.run(_FAILING, lambda: self._turn(self._poll.poll(0)), None)

    def _turn(self, ready: list[tuple[int, int]]) -> None:
        self._answering = True
        try:
            for fd, event in ready:
                self._see_to(fd, event)
            for connection in list(self._connections.values()):
                if connection.deadline <= _now():
                    self._end(connection, connection.expire)
            late = _now() - self._tick_at
            if late >= 0:
                self._tick_at += late + TICK_SECONDS
                self._each_second(late)
            if self._look is not None and self._look_at <= _now():
                self._look_around(self._look)
        finally:
            self._answering = False

    def _see_to(self, fd: int, event: int) -> None:
        if fd == self._arbiter:
            self._stop_listening()
        elif self._listener is not None and fd == self._listener.fileno():
            shut = event != select.POLLIN  # by the arbiter, which listens elsewhere now
            self._stop_listening() if shut or self._finishing else self._accept()
        elif fd in self._connections:
            self._advance(self._connections[fd])

    def _each_second(self, late: float) -> None:
        self._notice_listener()
        tick = self._tick
        if tick is not None:
            self._boundary.run("what is due each second failed", lambda: tick(late), None)

    def _look_around(self, look: Callable[[], float | None]) -> None:
        ahead = self._boundary.run("looking at slow requests failed", look, None)
        self._look_at = self._tick_at if ahead is None else min(_now() + ahead, self._tick_at)

    def _notice_listener(self) -> None:
        """Wait for clients, if the listener is open by now: any worker may have opened it."""
        if self._is_polled or self._listener is None or not self._listening:
            return
        if self._listener.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
            self._poll.register(self._listener.fileno(), select.POLLIN)
            self._is_polled = True

    def _stop_listening(self) -> None:
        """Close the listener; other processes may still have it."""
        if self._listener is not None and self._listener.fileno() >= 0:
            if self._is_polled:
                self._poll.unregister(self._listener.fileno())
                self._is_polled = False
            lib.grd_keep_in_children(self._listener.fileno())
            self._listener.close()
        self._listening = False
        if self._arbiter is not None:
            self._poll.unregister(self._arbiter)
            os.close(self._arbiter)
            self._arbiter = None

    def _patience(self) -> float | None:
        """Milliseconds until the first deadline; None without one."""
        deadlines = [connection.deadline for connection in self._connections.values()]
        if self._tick is not None or not self._is_polled:
            deadlines.append(self._tick_at)
        if self._look is not None:
            deadlines.append(self._look_at)
        return max(0.0, min(deadlines) - _now()) * 1000 + 1 if deadlines else None

    def _accept(self) -> None:
        fd = lib.grd_accept(self._listener.fileno())
        if fd < 0:
            if fd not in (*AGAIN, -errno.ECONNABORTED):
                self._sleep(OUT_OF_DESCRIPTORS_SECONDS)  # the listener stays readable: do not spin
            return  # another worker's thread was quicker
        try:
            connection = Connection(fd, self._app)
            self._connections[fd] = connection
            self._poll.register(fd, connection.events)
        except BaseException:
            self._connections.pop(fd, None)
            lib.grd_shutdown(fd)
            os.close(fd)
            raise
        self._advance(connection)
        if len(self._connections) > places():
            goes = min(self._connections.values(), key=lambda held: held.claim)
            self._end(goes, goes.close)

    def _advance(self, connection: Connection) -> None:
        goes_on = False
        try:
            goes_on = connection.step()
            if goes_on:
                self._poll.modify(connection.fd, connection.events)
        except BaseException:
            goes_on = False
            raise
        finally:
            if not goes_on:
                self._end(connection, connection.close)

    def _end(self, connection: Connection, close: Callable[[], None]) -> None:
        """Forget a connection, and close it, whatever fails in that."""
        self._connections.pop(connection.fd, None)
        try:
            self._poll.unregister(connection.fd)
            close()
        finally:
            connection.close()
