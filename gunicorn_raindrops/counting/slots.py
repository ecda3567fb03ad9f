"""A request whose phase its caller keeps, and the seat of the process that serves it.

Who owns what. A scoreboard made before the fork is everybody's. A process has no slot in it until
its first request: then it claims one, takes it, and holds it as its seat until it dies, when
readers find it dead and free the slot. So whatever forks, and however often, needs no hook.

What fork does to it: a child has its parent's seats and requests in its memory, and all of them
are nobody's there (see requests.h): they count nothing, and the child's own first request takes
a seat of its own. Seats are found by the number of forks behind a process, which no ancestor of
it shares; a lock could have been held by another thread at the fork.

A request goes through its phases once, in whatever thread; two threads at once it is not made for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from .. import mapping as pages
from .. import shm
from .._native._counters import ffi, lib
from ..scoreboard.board import READY, Claim, Scoreboard, begin_here, end_here, respond_here

RETRY_SECONDS = 10.0  # a process without a slot looks at all of them again, which takes ms
SHARE_SECONDS = 2.0  # within which whoever makes a file right has done so

CALLING, WRITING, ENDED = 0, lib.GRD_WRITING, -1
_ERROR = lib.GRD_ERROR
_CLASSES = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5}


def hundreds_of(status: str | None) -> int:
    """Return the class of a status as WSGI has it, 1 to 5; 0 for none and for a strange one."""
    return _CLASSES.get(status[:1], 0) if status else 0


class Seat(Protocol):
    """Where a process counts its requests."""

    @property
    def begin(self) -> Callable[[str, str], int]:
        """One more is calling: its method, and its path without query string, which may be shown.
        Returns its ticket; 0 in a process that is not the seat's."""

    @property
    def respond(self) -> Callable[[int], None]:
        """The one with this ticket goes from calling to writing."""

    @property
    def end(self) -> Callable[[int, int], None]:
        """The one with this ticket ends; how, is said in requests.h."""

    @property
    def fail(self) -> Callable[[], None]:
        """One that has ended turns out to have failed."""

    @property
    def open(self) -> Callable[[], Any]:
        """A websocket is open; whether it counts."""

    @property
    def close(self) -> Callable[[], None]:
        """One that counted is no more."""

    def leave(self) -> None:
        """Give the seat up."""


class AttachedSeat:
    """The seat in the slot that this process has attached. Without one, as in a child of the
    application's, it counts nowhere."""

    begin: Callable[[str, str], int] = staticmethod(begin_here)
    respond: Callable[[int], None] = staticmethod(respond_here)
    end: Callable[[int, int], None] = staticmethod(end_here)
    fail: Callable[[], None] = staticmethod(lib.grd_here_fail)
    open: Callable[[], int] = staticmethod(lib.grd_here_open)
    close: Callable[[], None] = staticmethod(lib.grd_here_close)

    def leave(self) -> None:
        """See Seat: the slot stays the process's."""


class SlotSeat:
    """A seat in a scoreboard."""

    def __init__(self, board: Scoreboard, claim: Claim, slot: Any) -> None:
        self._board = board  # its pages stay as long as anybody may write there
        self._claim = claim
        seat = ffi.new("struct grd_seat *")
        lib.grd_seat_take(seat, board.header, slot)
        self._begin: Callable[..., int] = partial(lib.grd_seat_begin, seat)
        self.respond: Callable[[int], None] = partial(lib.grd_seat_respond, seat)
        self.end: Callable[[int, int], None] = partial(lib.grd_seat_end, seat)
        self.fail: Callable[[], None] = partial(lib.grd_seat_fail, seat)
        self.open: Callable[[], int] = partial(lib.grd_seat_open, seat)
        self.close: Callable[[], None] = partial(lib.grd_seat_close, seat)
        lib.grd_seat_state(seat, READY)

    def begin(self, method: str, path: str) -> int:
        """See Seat."""
        line = method.encode(errors="replace"), path.encode(errors="replace")
        return self._begin(line[0], len(line[0]), line[1], len(line[1]))

    def leave(self) -> None:
        """See Seat: the slot is free again."""
        self._board.release(self._claim)


class StatsSeat:
    """A seat that moves the members `calling` and `writing` of a Struct, and nothing else."""

    def __init__(self, stats: shm.Struct) -> None:
        self._stats = stats
        self._forks = lib.grd_forks()

    def begin(self, method: str, path: str) -> int:
        """See Seat: a Struct has no room for more than the count."""
        if self._forks != lib.grd_forks():
            return 0
        self._stats.incr_calling()
        return 1

    def respond(self, ticket: int) -> None:
        """See Seat."""
        if self._forks == lib.grd_forks():
            self._stats.incr_writing()
            self._stats.decr_calling()

    def end(self, ticket: int, how: int) -> None:
        """See Seat."""
        if self._forks == lib.grd_forks():
            leave = self._stats.decr_writing if how & WRITING else self._stats.decr_calling
            leave()

    def fail(self) -> None:
        """See Seat: the Struct has no member for errors."""

    def open(self) -> bool:
        """See Seat: nor for websockets."""
        return False

    def close(self) -> None:
        """See Seat: nor for their end."""

    def leave(self) -> None:
        """See Seat: nothing is held."""


class Request:
    """One request, from its begin to its end; a step out of turn counts nothing."""

    __slots__ = ("_phase", "_seat", "_ticket")

    def __init__(self, seat: Seat, ticket: int) -> None:
        """Go on with a request that was begun in `seat`."""
        self._seat = seat
        self._ticket = ticket
        self._phase = CALLING

    def respond(self) -> None:
        """Go from calling to writing."""
        if self._phase == CALLING:
            self._phase = WRITING
            self._seat.respond(self._ticket)

    def end(self, hundreds: int, failed: bool = False) -> None:
        """End it.

        Args:
            hundreds: the class of the status that the client got, 1 to 5; 0 when it got none, or
                a strange one.
            failed: its application raised.
        """
        phase, self._phase = self._phase, ENDED
        if phase != ENDED:
            self._seat.end(self._ticket, phase | hundreds | (_ERROR if failed else 0))

    def cancel(self) -> None:
        """Take it back: it never reached the application."""
        phase, self._phase = self._phase, ENDED
        if phase != ENDED:
            self._seat.end(self._ticket, phase | lib.GRD_CANCELLED)


class Seats:
    """The seat of whichever process asks."""

    def __init__(self, sit: Callable[[], Seat | None]) -> None:
        self._sit = sit
        self._seat: Seat | None = None
        self._by_forks: dict[int, Seat] = {}
        self._full: dict[int, float] = {}
        lib.grd_forks()  # counts from here on

    def begin(self, method: str, path: str) -> tuple[Seat, int] | None:
        """Begin a request in this process's seat; returns that, and the request's ticket, or None
        if there is none free."""
        seat = self._seat
        if seat is not None and (ticket := seat.begin(method, path)):
            return seat, ticket
        seat = self.find()
        if seat is None or not (ticket := seat.begin(method, path)):
            return None
        self._seat = seat
        return seat, ticket

    def find(self) -> Seat | None:
        """Return this process's seat; None if there is none free."""
        return self._here(lib.grd_forks())

    def _here(self, forks: int) -> Seat | None:
        seat = self._by_forks.get(forks)
        if seat is None and time.monotonic() >= self._full.get(forks, 0.0):
            seat = self._take(forks)
        return seat

    def _take(self, forks: int) -> Seat | None:
        mine = self._sit()
        if mine is None:
            self._full[forks] = time.monotonic() + RETRY_SECONDS
            return None
        seat = self._by_forks.setdefault(forks, mine)
        if seat is not mine:  # another thread of this process was quicker
            mine.leave()
        return seat


class BoardSeats(Seats):
    """Seats in a scoreboard; a process that finds no free slot is counted as untracked."""

    def __init__(self, board: Scoreboard) -> None:
        super().__init__(partial(_sit, board))
        self._board = board
        self._untracked: dict[int, object] = {}

    def _take(self, forks: int) -> Seat | None:
        seat = super()._take(forks)
        if seat is None:
            token = object()
            if self._untracked.setdefault(forks, token) is token:
                self._board.add_untracked(1)
        elif self._untracked.pop(forks, None) is not None:
            self._board.add_untracked(-1)
        return seat


def _sit(board: Scoreboard) -> SlotSeat | None:
    claim = board.claim()
    if claim is None:
        board.reclaim()
        claim = board.claim()
    slot = None if claim is None else board.take_slot(claim)
    return None if claim is None or slot is None else SlotSeat(board, claim, slot)


def share(slots: int, file: str) -> Scoreboard:
    """Return the scoreboard in a file that processes share which have no parent's memory in common.

    The first of them makes it right and the others join it. While one of them has it, no arbiter
    takes the file for its own, nor is one's taken from it.

    Raises:
        ValueError: `file` holds something else, or another format of this.
        BlockingIOError: an arbiter has it.
        OSError: it cannot be opened, grown or mapped.
    """
    until = time.monotonic() + SHARE_SECONDS
    while True:
        with contextlib.suppress(BlockingIOError):
            return _lead(slots, file)
        try:
            return _join(file)
        except BlockingIOError:  # somebody leads, or an arbiter has it
            if time.monotonic() > until:
                raise
        time.sleep(0.01)


def _lead(slots: int, file: str) -> Scoreboard:
    board = Scoreboard(slots, file)
    fcntl.flock(board.fileno(), fcntl.LOCK_SH)
    return board


def _join(file: str) -> Scoreboard:
    fd = pages.open_shared(file)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return Scoreboard.adopt(fd)
    except BaseException:
        os.close(fd)
        raise
