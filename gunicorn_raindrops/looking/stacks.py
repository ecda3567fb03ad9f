"""The last stacks of each worker, for its arbiter: in memory that the two share.

Who owns what. The arbiter makes the memory before it forks, with a place for each slot. A worker
empties the place of its slot when it takes that over, and writes there; the arbiter reads it when
the worker was killed. A place has two halves and a byte that names the one to read: a worker
writes to the other and then changes the byte, so one that is killed meanwhile leaves what there was
before. Pages take memory once they are written to.

A hostile worker may have written anything: its text is cut to the room, and loses what is not
printed.
"""

from __future__ import annotations

import mmap

from ..exporters.printable import printable

HALF = 16384
PLACE = 2 * HALF
_HEAD = 4  # bytes: the first of a place says which half to read, the others how long a text is


class Stacks:
    """Room for the stacks of the workers in so many slots.

    Raises:
        OSError: there is no memory.
    """

    def __init__(self, slots: int) -> None:
        self._pages = mmap.mmap(-1, slots * PLACE)

    def keep(self, slot: int, text: str) -> None:
        """Keep the stacks of a slot's worker in place of its last ones."""
        at = slot * PLACE
        if not text and not self._pages[at : at + _HEAD].strip(b"\0"):
            return  # pages that nobody has touched take no memory
        half = 1 - (self._pages[at] & 1)
        begin = at + half * HALF
        data = _first(text.encode(), HALF - _HEAD)
        self._pages[begin + 1 : begin + _HEAD] = len(data).to_bytes(3, "little")
        self._pages[begin + _HEAD : begin + _HEAD + len(data)] = data
        self._pages[at] = half

    def read(self, slot: int) -> str:
        """Return what was kept last, line by line; an empty text if nothing was."""
        begin = slot * PLACE + (self._pages[slot * PLACE] & 1) * HALF
        length = int.from_bytes(self._pages[begin + 1 : begin + _HEAD], "little")
        data = self._pages[begin + _HEAD : begin + _HEAD + min(length, HALF - _HEAD)]
        return "\n".join(map(printable, data.decode(errors="ignore").split("\n")))


def _first(data: bytes, size: int) -> bytes:
    return data if len(data) <= size else data[: size - 4] + b"\n..."
