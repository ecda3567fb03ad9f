"""The thread that serves the status address, in each worker, and does what is due each second.

Who owns what. The arbiter opens one listening socket before it forks; the thread of every worker
waits on it, so whichever worker is free answers, also while all are busy with requests. The
thread owns its connections, and shares nothing with the application but the interpreter.

It takes a connection only once it holds the GIL, and keeps the GIL from there to the answer's
last byte where the request has arrived already (TCP_DEFER_ACCEPT sees to that): a worker stuck
in C code cannot swallow a request that another worker could answer.

It is a thread of the interpreter's, also where gevent or eventlet have patched that, and answers
while their hub is blocked. Nothing in it takes a lock, imports, or logs (`warn` sees to that):
under those two all of it belongs to the hub.

A client that sends nothing, rubbish or half a request holds one place out of a few for two
seconds; when all places are taken the one that waited longest goes.

It is the arbiter's address: when the arbiter dies, its orphans let go of it at once, for the next
one to take, however long their last requests last. A worker that ends lets the thread finish the
answer that it is about.

What fork does to it: a child has no such thread, only copies of its descriptors. Connections are
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
from .._native._counters import ffi, lib
from ..listeners.addresses import Address
from . import http as http_head
from .app import Answer, StatusApp

MAX_REQUEST = 8192  # bytes of request line and headers
MAX_PLACES = 32
REQUEST_SECONDS = 2.0
ANSWER_SECONDS = 5.0
LINGER_SECONDS = 1.0
TICK_SECONDS = 1.0
FINISH_SECONDS = 0.5
OUT_OF_DESCRIPTORS_SECONDS = 0.25
BACKLOG = 128

_AGAIN = (-errno.EAGAIN, -errno.EWOULDBLOCK, -errno.EINTR)
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
    """Remove a socket that nobody listens on any more; anything else stays and is in the way."""
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


class Connection:
    """One client: first its request is read, then it is answered, then its end is awaited."""

    def __init__(self, fd: int, app: StatusApp) -> None:
        self.fd = fd
        self.deadline = _now() + REQUEST_SECONDS
        self.step: Callable[[], bool] = self._read
        self.events = select.POLLIN
        self._app = app
        self._head = b""
        self._buffer = ffi.new("char[]", MAX_REQUEST)
        self._answer = b""

    def expire(self) -> None:
        """Say why, if there is still something to say, and end it."""
        if self.step == self._read:
            self._respond(Answer(408, b"request timeout\n"), "GET")
            lib.grd_send(self.fd, self._answer, len(self._answer))
        self.close()

    def close(self) -> None:
        """Let the client go."""
        lib.grd_shutdown(self.fd)
        os.close(self.fd)

    def _read(self) -> bool:
        """Read what is there; True while the connection goes on, as for all steps."""
        got = lib.grd_receive(self.fd, self._buffer, MAX_REQUEST)
        if got in _AGAIN:
            return True
        if got <= 0:
            return False
        self._head += ffi.buffer(self._buffer, got)[:]
        try:
            request = http_head.parse(self._head[:MAX_REQUEST])  # a body may be behind it
        except ValueError:
            return self._respond(Answer(400, b"bad request\n"), "GET")
        if request is not None:
            return self._respond(self._app.answer(*request), request.method)
        if len(self._head) >= MAX_REQUEST:
            return self._respond(Answer(431, b"request too large\n"), "GET")
        return True

    def _respond(self, answer: Answer, method: str) -> bool:
        lines = [f"HTTP/1.1 {answer.status_line}"]
        lines += [f"{name}: {value}" for name, value in answer.all_headers()]
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        self._answer = head if method == "HEAD" else head + answer.body
        self.step, self.events = self._write, select.POLLOUT
        self.deadline = _now() + ANSWER_SECONDS
        return self._write()

    def _write(self) -> bool:
        while self._answer:
            sent = lib.grd_send(self.fd, self._answer, len(self._answer))
            if sent < 0:
                return sent in _AGAIN
            self._answer = self._answer[sent:]
        lib.grd_shutdown(self.fd)
        self.step, self.events = self._linger, select.POLLIN
        self.deadline = _now() + LINGER_SECONDS
        return self._linger()

    def _linger(self) -> bool:
        """Read on to the client's end: closing on unread bytes would reset the connection, and
        the client might lose the answer (RFC 9112, section 9.6)."""
        got = lib.grd_receive(self.fd, self._buffer, MAX_REQUEST)
        return got > 0 or got in _AGAIN


class StatusServer:
    """Serves a `StatusApp` on a listening socket, in a thread of its own.

    Args:
        listener: from `open_listener`; None: there is no status address, only the tick.
        app: what answers.
        warn: called with a line when something fails.
        arbiter: the pid of this process's parent, with which it goes.
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

    def start(self) -> None:
        """Start the thread. It ends with the process, and takes no signal from the worker."""
        atexit.register(self._finish)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            unpatched.original("_thread", "start_new_thread")(self._run, ())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _finish(self) -> None:
        """Take no more connections, and wait for the answer under way: the interpreter's end would
        stop the thread in its midst. A child that the application forked has no such thread."""
        until = _now() + FINISH_SECONDS
        if self._pid == os.getpid():
            self._finishing = True
            while self._answering and _now() < until:
                self._sleep(0.001)

    def _run(self) -> None:
        while self._listening or self._connections:
            try:
                self._turn(self._poll.poll(self._patience()))
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
        """Leave the listener to whoever else has it."""
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
            if fd not in (*_AGAIN, -errno.ECONNABORTED):
                self._sleep(OUT_OF_DESCRIPTORS_SECONDS)  # the listener stays readable: do not spin
            return  # another worker's thread was quicker
        if len(self._connections) >= MAX_PLACES:
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
