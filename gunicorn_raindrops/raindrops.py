"""Raindrops: counters in shared memory, by index.

Who owns the memory: an unnamed file (a memfd; sealed, so that no process can shrink it under the
feet of another) or the user's file, mapped shared. Every process that forks from the creator
shares it; any of them, and any thread, may write any counter at any time. Each update is one
atomic instruction, so there is no lock that a killed process could take along.

What fork does to it: nothing. Parent and child have the same pages. Only `size` is each process's
own, and only the creator may grow the mapping, since the others could not follow.

Only the native types (see objects.h) know where a counter is: whatever another thread closes or
grows meanwhile, a call works on memory that is there, or raises.
"""

from __future__ import annotations

import math
import mmap
import operator
import os
import sys
from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn

from ._native._objects import Counters
from ._native._scoreboard import ffi, lib
from .mapping import File, Mapping, Shared, open_shared, reserve, seal


class Raindrops(Shared, Counters):
    """`size` 64-bit counters in memory that forked processes share, a cache line apart.

    `rd.incr(i, n=1)` and `rd.decr(i, n=1)` change a counter atomically, whichever processes and
    threads do so at once, and return its new value, modulo 2**64. `rd[i]` reads it, `rd[i] = value`
    sets it. An index outside 0..size-1 is an IndexError, a negative one too; a value outside
    0..2**64-1 an OverflowError; another type a TypeError. `len(rd)`, `list(rd)`, `with rd:` work.

    Args:
        size: how many, at least 1.
        file: a path, descriptor or file object that backs them; its values are kept. None:
            memory that goes with the last process that has it mapped.
        zero: set all of them to 0.

    Raises:
        ValueError: `size` is under 1, or `file` is not a regular file.
        TypeError: `size` is not an integer, or `file` none of the above.
        PermissionError: `file` is the path of a link, of another user's file, or of one that others
            may write to.
        OSError: `file` cannot be opened, grown or mapped.
    """

    SIZE: ClassVar[int] = lib.grd_line_size()
    """Bytes from one counter to the next: this machine's cache line."""
    PAGE_SIZE: ClassVar[int] = mmap.PAGESIZE
    """Bytes in a page of memory; a mapping is a whole number of them."""
    MAX: ClassVar[int] = 2**64 - 1
    """The largest value of a counter."""

    def __init__(self, size: int, *, file: File | None = None, zero: bool = False) -> None:
        self._fd = -1
        self._creator = os.getpid()
        number = self._check_size(size)
        self._fd = open_shared(file)
        try:
            self._map(number)
        except BaseException:
            self.close()
            raise
        if file is None:
            seal(self._fd)
        if zero:
            self._zero()

    @staticmethod
    def _check_size(size: Any) -> int:
        try:
            number = operator.index(size)
        except TypeError:
            raise TypeError(f"size must be an integer, not {type(size).__name__}") from None
        if not 1 <= number <= sys.maxsize // Raindrops.SIZE - Raindrops.PAGE_SIZE:
            raise ValueError(f"size must be at least 1 and fit into memory, not {number}")
        return number

    def _map(self, size: int) -> None:
        length = math.ceil(size * self.SIZE / self.PAGE_SIZE) * self.PAGE_SIZE
        reserve(self._fd, length)
        mapping = Mapping(self._fd, length)
        self._show(mapping.location, size, self.SIZE, mapping)

    def _zero(self) -> None:
        """Zero all of the file, also what lies behind the mapping and may come with growth."""
        # Through a mapping: what is written to a file opened for appending goes to its end.
        size = os.fstat(self._fd).st_size
        mapping = Mapping(self._fd, size)
        whole = ffi.buffer(mapping.address, size)
        for at in range(0, size, 1 << 20):
            part = min(size - at, 1 << 20)
            whole[at : at + part] = bytes(part)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        for i in range(self.size):
            yield self[i]

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"size={self.size}"
        return f"<{type(self).__name__} {state}>"

    def _check_open(self) -> Mapping:
        mapping = self._mapping
        if not isinstance(mapping, Mapping):
            raise ValueError("these counters are closed")
        return mapping

    @property
    def size(self) -> int:
        """How many counters there are. It can be set: up to `capacity` at once, beyond it by
        growing the mapping, values kept, in the process that created it.

        Raises:
            RuntimeError: it would have to grow in another process.
            ValueError: it is under 1, or the counters are closed.
            OSError: there is no room for more.
        """
        self._check_open()
        return self._size

    @size.setter
    def size(self, size: int) -> None:
        number = self._check_size(size)
        self._check_open()
        if number > self.capacity:
            if os.getpid() != self._creator:
                raise RuntimeError(
                    f"size {number} is beyond the capacity of {self.capacity}, "
                    "and only the process that created the counters can grow them"
                )
            self._map(number)
        else:
            self._resize(number)

    @property
    def capacity(self) -> int:
        """How many counters fit into the pages that are mapped."""
        return self._check_open().length // self.SIZE

    def copy(self) -> Raindrops:
        """Return an independent snapshot: new counters, unnamed, with the values of this instant.

        Each value is read atomically, but not all of them at once.
        """
        other = Raindrops(self.size)
        for i, value in enumerate(self):
            other[i] = value
        return other

    __copy__ = copy

    evaporate = Shared.close

    def __reduce__(self) -> NoReturn:
        raise TypeError("shared counters cannot be pickled; processes share them by forking")

    def adopt(self, fd: int) -> None:
        """Go on with the memory behind another descriptor, and with the values there.

        Raises:
            OSError: it cannot be mapped.
            ValueError: the counters are closed.
        """
        size, old = self.size, self._fd
        self._fd = open_shared(fd)
        self._map(size)
        os.close(old)
