"""Reading a scoreboard, which changes nothing in it.

A reader may be a command of another user, or in another PID namespace, or one with a read-only
mapping. What it gets are records: see `records`.

What stands in the pages may have been scribbled on by a hostile worker. It can spoil figures.
Nothing here signals a pid, follows an offset or trusts a length that was read there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

from .. import mapping as pages
from .._native._scoreboard import ffi, lib
from . import decode, exits, layout
from .liveness import Liveness
from .records import HEADER, SOCKET, InFlight, Marks, Reading
from .tally import Tally

MARK_SECONDS: int = lib.GRD_MARK_SECONDS - 1
"""For how long high-water marks are kept."""
_SOURCES = {SOCKET: lib.GRD_QUEUE_SOCKET, HEADER: lib.GRD_QUEUE_HEADER}
_TOTALS = decode.Integers("struct grd_totals", Reading)


class BoardReader:
    """A mapped scoreboard, as its readers see it; made by `open_read_only`."""

    slots: int
    """How many workers it has room for."""

    def _use(self, mapping: pages.Mapping, slots: int) -> None:
        self.slots = slots
        self._mapping = mapping
        base = ffi.cast("char *", mapping.address)
        self._header = ffi.cast("struct grd_header *", base)
        self._slots = ffi.cast("struct grd_slot *", base + layout.HEADER_SIZE)
        self._liveness = Liveness()
        self._untracked = Tally(self._header.untracked)
        self._wanted = Tally(self._header.wanted)

    @property
    def created(self) -> float:
        """When its first process made it, in seconds of the monotonic clock."""
        return float(self._header.created / 1e9)

    @property
    def lost(self) -> bool:
        """Whether the file was cut short: no other process sees what is counted from then on."""
        return self._mapping.lost

    def watch(self) -> None:
        """Keep this process safe from a file that is cut short: see `Mapping.watch`. To be called
        when the application has been loaded, and now and then."""
        self._mapping.watch()

    def _used(self) -> int:
        return int(lib.grd_used(self._header, self.slots))

    def read(self) -> Reading:
        """Read all slots. An owner that is known to be dead has no record, and its requests are not
        in flight; its slot stays as it is.

        Raises:
            OSError: the pages are lost.
        """
        # The buffers are this call's own: two threads may read at once.
        used = self._used()
        words = ffi.new("struct grd_slot_record[]", used)
        busy = ffi.new("uint64_t[]", used)
        totals = ffi.new("struct grd_totals *")
        found = lib.grd_read(self._slots, used, words, totals, busy)
        namespace = lib.grd_pid_namespace()
        if self.lost:
            raise OSError("the scoreboard's file was cut short while it was in use")
        return Reading(
            slots=self.slots,
            untracked=sum(self._untracked.read()),
            workers_wanted=self._workers_wanted(),
            responses=tuple(totals.responses),
            rows=tuple(decode.slot(one, namespace) for one in self._liveness.living(words, found)),
            request_seconds=decode.distribution(totals.request),
            queue_seconds={
                source: decode.distribution(totals.queue[i]) for source, i in _SOURCES.items()
            },
            busy_seconds=tuple(ns / 1e9 for ns in busy),
            exits=exits.counts(self._header),
            killed=exits.kept(self._header),
            **_TOTALS.read(totals),
        )

    def arbiters(self) -> list[int]:
        """Return the pids of the arbiters, as their own PID namespace has them."""
        return self._wanted.pids()

    def _workers_wanted(self) -> int | None:
        """Return how many workers the arbiters mean to have; None if there is no arbiter."""
        found = self._wanted.read()
        return sum(max(one - 1, 0) for one in found) if found else None  # 0: scribbled on

    def marks(self, seconds: float, reading: Reading | None = None) -> Marks:
        """Return the high-water marks of the last `seconds`, up to MARK_SECONDS, with what is in
        flight now. They are kept by the second: up to one more counts.

        Args:
            seconds: the window.
            reading: of a moment ago, which spares another one.
        """
        most = ffi.new("struct grd_high_water *")
        window = min(math.ceil(max(seconds, 0)), MARK_SECONDS)
        lib.grd_read_marks(self._header, window, most)
        calling, writing = self._in_flight(reading)
        return Marks(
            calling=max(most.mark[lib.GRD_MARK_CALLING], calling),
            writing=max(most.mark[lib.GRD_MARK_WRITING], writing),
            queued=most.mark[lib.GRD_MARK_QUEUED],
            waiting=most.mark[lib.GRD_MARK_WAITING],
        )

    def in_flight(self) -> InFlight:
        """Read what the slots hold together, which costs a third of `read`."""
        calling = writing = capacity = 0
        reading = None
        for words in self._living():
            calling, writing = calling + words.calling, writing + words.writing
            if words.is_reading_known:
                reading = (reading or 0) + words.reading
            if words.state == lib.GRD_READY:
                capacity += words.capacity
        return InFlight(calling, writing, reading, capacity)

    def _in_flight(self, reading: Reading | None) -> tuple[int, int]:
        rows: Any = self._living() if reading is None else reading.rows
        each = [(row.calling, row.writing) for row in rows]
        return sum(calling for calling, _ in each), sum(writing for _, writing in each)

    def _living(self) -> Iterator[Any]:
        """Iterate over the words of the slots whose owner lives; see `Liveness.living`."""
        used = self._used()
        words = ffi.new("struct grd_slot_record[]", used)
        return self._liveness.living(words, lib.grd_list(self._slots, used, words))


def open_read_only(source: int | str | os.PathLike[str]) -> BoardReader:
    """Return a scoreboard that is mapped read-only, to be read while others use it.

    Args:
        source: its file, or a descriptor of it that is open for reading and stays the caller's;
            /proc/PID/fd/N serves as the name of an unnamed one.

    Raises:
        ValueError: there is no scoreboard.
        OSError: it cannot be opened or mapped.
    """
    fd = os.dup(source) if isinstance(source, int) else os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        slots = layout.slots_of(fd, f"{source}")
        if not slots:
            raise ValueError(f"{source} is not a scoreboard")
        length = layout.length_of(slots)
        board = BoardReader()
        board._use(pages.Mapping(fd, length, read_only=True), slots)
        return board
    finally:
        os.close(fd)
