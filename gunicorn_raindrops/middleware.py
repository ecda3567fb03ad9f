"""The same counting for any WSGI or ASGI server: `Middleware` and `ASGIMiddleware`.

Who owns what. The middleware makes a scoreboard where it is constructed, or counts in the user's
Struct. Processes that fork afterwards take a slot each at their first request, see
`counting/slots.py`. Where a server spawns processes instead of forking them, each constructs a
middleware of its own; they share a `file`, or nothing. The status path is answered instead of the
application, on a thread or loop of its server: one must be free.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import __version__
from .after_fork import why_alone
from .counting import asgi, slots, websocket, wsgi
from .looking import watched
from .looking.calls import OfCall
from .sampler import CLASSES, Sampler
from .scoreboard.board import Scoreboard
from .scoreboard.records import Reading
from .settings import Settings, load
from .shm import Struct
from .snapshot import Arbiter, Snapshot
from .status import expose
from .status.app import StatusApp

Take = Callable[[], Snapshot]
Warn = Callable[[str], None]


class _Base:
    """An application, slots to count its requests in, and a status to show."""

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        stats: Struct | None = None,
        path: str = Settings.path,
        listeners: Sequence[str] | str = Settings.listeners,
        max_workers: int = Settings.max_workers,
        allow: Sequence[str] | str = Settings.allow,
        token: str | None = Settings.token,
        file: str | os.PathLike[str] | None = Settings.file,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be an application, not {type(app).__name__}")
        given = {"path": path, "listeners": listeners, "max_workers": max_workers}
        settings = load({**given, "allow": allow, "token": token, "file": file}, {})
        self._app = app
        warn = expose.warner()
        if stats is None:
            self._slots, take = _in_slots(settings, warn, self._watch)
        else:
            self._slots, take = _in_stats(stats, settings, warn)
        self._status = StatusApp(settings, take, warn)

    @staticmethod
    def _watch(slot: slots.BoardSlot) -> None:
        raise NotImplementedError


class Middleware(_Base):
    """Count the requests of a WSGI application and answer its status path.

        app = Middleware(app)           # before the server forks

    `PATH` is text/plain, the counts line by line, `PATH.json` everything; GET and HEAD. Status
    requests are not counted.

    Without `stats`, each process takes a slot of its own at its first request, so that one that
    is killed takes its requests out of the gauges. With `stats` only calling and writing move.
    A file that the application returns in the server's own `wsgi.file_wrapper` is still sent as
    one. If the server's wrapper gives objects that take no attribute, such a request is counted
    until the application returns; with any other body, until the server closes it.

    Args:
        app: the application.
        stats: a Struct with members calling and writing, made before the fork, to count in.
        path: the status path.
        listeners: addresses of listeners to report, such as 0.0.0.0:8000 or /run/app.sock.
        max_workers: slots; a process beyond them serves as ever and is counted as untracked.
        allow: networks that may read the status, and `unix` for peers of a unix listener; a
            request with a forwarding header never may. A request that may not read goes on to the
            application. Behind a proxy on this machine, a server that removes such headers, as
            waitress does, makes every client local: set a token there, or allow nobody.
        token: when set, every status answer needs `Authorization: Bearer TOKEN`.
        file: keep the scoreboard in this file. Processes that were spawned, not forked, share it
            by that alone.

    Raises:
        ValueError: a keyword's value is wrong; the message names it and what it takes.
        TypeError: `app` is not callable, or `stats` no such Struct.
        OSError: there is no shared memory.
    """

    @staticmethod
    def _watch(slot: slots.BoardSlot) -> None:
        watched.watch(slot, OfCall())

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        try:
            reply = expose.answer_wsgi(self._status, environ)
        except Exception:  # there was no memory to call the boundary with
            reply = None
        if reply is not None:
            return reply.send(start_response)
        begun = self._slots.begin(*wsgi.line_of(environ))
        if begun is None:
            return self._app(environ, start_response)
        return wsgi.call(self._app, *begun, environ, start_response)


class ASGIMiddleware(_Base):
    """Count the requests of an ASGI application and answer its status path.

    Everything is as with `Middleware`. An open websocket is counted as one, not as a request; the
    lifespan passes through.
    """

    @staticmethod
    def _watch(slot: slots.BoardSlot) -> None:
        from .looking.tasks import OfTasks  # a WSGI server has no asyncio

        loop = sys.modules["asyncio"].get_running_loop()
        watched.watch(slot, OfTasks(lambda: loop))

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
            return
        slot = self._slots.find() if scope["type"] == "websocket" else None
        if slot is None:
            await self._app(scope, receive, send)
        else:
            await websocket.call(self._app, slot, scope, receive, send)

    async def _http(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        try:
            messages = expose.answer_asgi(self._status, scope)
        except Exception:  # there was no memory to call the boundary with
            messages = None
        if messages is not None:
            await expose.send_all(messages, send)
            return
        begun = self._slots.begin(scope["method"], scope["path"])
        if begun is None:
            await self._app(scope, receive, send)
        else:
            await asgi.call(self._app, *begun, scope, receive, send)


_NOT_IN_SLOTS = (
    "capacity",
    "utilization",
    "saturation",
    "queue_seconds",
    "queue_ignored",
    "exits",
    "killed",
)
"""What only gunicorn's hooks can know."""


def _in_slots(
    settings: Settings, warn: Warn, holds: Callable[[slots.BoardSlot], object]
) -> tuple[slots.SlotOfProcess, Take]:
    """Count in a scoreboard."""
    board = _open(settings, warn)
    sampler = Sampler(board, _identity(board.created), [], settings.listeners, warn)

    def take(since: float | None = None) -> Snapshot:
        board.watch()
        board.reap()  # no arbiter does
        snapshot = sampler.take(since)
        workers = tuple(dataclasses.replace(w, age=None) for w in snapshot.workers or ())
        unknown = dict.fromkeys(_NOT_IN_SLOTS)
        marks = {
            window: most and dataclasses.replace(most, queued=None)
            for window, most in (snapshot.marks or {}).items()
        }
        return dataclasses.replace(snapshot, workers=workers, marks=marks, **unknown)  # type: ignore[arg-type]

    return slots.BoardSlotOfProcess(board, holds), take


_warned: set[int] = set()
"""Processes that were warned of counting alone."""


def _open(settings: Settings, warn: Warn) -> Scoreboard:
    if settings.file is None:
        alone = why_alone()
        if alone is not None and os.getpid() not in _warned:
            _warned.add(os.getpid())
            warn(alone)
        return Scoreboard(settings.max_workers)
    try:
        return slots.share(settings.max_workers, settings.file)
    except BlockingIOError:
        warn(f"file: {settings.file} is another server's; counting in memory only")
    except (OSError, ValueError) as error:
        warn(f"file: {error}; counting in memory only")
    return Scoreboard(settings.max_workers)


_NOT_IN_STATS = {field.name for field in dataclasses.fields(Snapshot)} - {
    "time",
    "uptime",
    "arbiter",
    "calling",
    "writing",
    "listeners",
    "queued",
    "started",
}
"""What the user's Struct cannot know."""


class _NoBoard:
    """The scoreboard of a middleware that counts in the user's Struct."""

    def read(self) -> Reading:
        return Reading(0, 0, 0, (0,) * len(CLASSES), 0, ())

    def marks(self, seconds: float, reading: Reading | None = None) -> None:
        """There are none."""


def _in_stats(stats: Struct, settings: Settings, warn: Warn) -> tuple[slots.SlotOfProcess, Take]:
    """Count in the user's Struct; what that cannot know is None."""
    if not isinstance(stats, Struct) or not {"calling", "writing"} <= set(stats.MEMBERS):
        raise TypeError(f"stats must be a Struct with members calling and writing, not {stats!r}")
    if settings.file is not None:
        raise ValueError("file: there is no scoreboard to keep in one where stats are given")
    calling, writing = (stats.MEMBERS.index(name) for name in ("calling", "writing"))
    sampler = Sampler(_NoBoard(), _identity(time.monotonic()), [], settings.listeners, warn)

    def take(since: float | None = None) -> Snapshot:
        return dataclasses.replace(
            sampler.take(),
            calling=stats[calling],
            writing=stats[writing],
            **dict.fromkeys(_NOT_IN_STATS),  # type: ignore[arg-type]
        )

    return slots.SlotOfProcess(lambda: slots.StatsSlot(stats)), take


def _identity(started: float) -> Arbiter:
    return Arbiter(os.getpid(), None, __version__, None, started)
