"""A histogram of durations in shared memory: `Histogram`.

Who owns the memory, and what fork does to it: as in `raindrops`. Every process that forks from the
creator, and any of their threads, may record at any time. A record is a handful of atomic
additions, none of which ever waits; it takes no lock, so a killed process takes none along. At
most it leaves the one record that it was in the middle of in the sum and not in the count.

What a reader sees while others record: the buckets first, then sum, squares, min and max, each
word whole. So everything that is counted is in the sum, within min and max, and percentiles are
those of what is counted; the sum may be ahead of the count by a record of each thread that is
recording. Where more come in during each of eight attempts, it is ahead by those of the quietest
(an attempt takes a fraction of a microsecond). No figure that only grows (count, sum, outliers) is
ever seen to go back.

Why the words never go back, and what is in them: histogram.h.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, ClassVar, NoReturn

from . import distribution
from . import mapping as pages
from ._native._objects import Recorder
from ._native._scoreboard import ffi, lib
from .distribution import Distribution

if TYPE_CHECKING:
    from ._native._scoreboard import Pointer

MAGIC = b"raindist"
VERSION = 2
HEADER = struct.pack("=8sII48x", MAGIC, VERSION, ffi.sizeof("struct grd_histogram"))
"""What the memory begins with: a cache line that says what follows. Then the struct itself."""
LENGTH: int = len(HEADER) + ffi.sizeof("struct grd_histogram")


class Histogram(pages.Shared, Recorder):
    """Durations, in memory that forked processes share: 242 buckets, whatever is recorded.

        histogram = Histogram()         # before the fork
        histogram.record(0.25)          # seconds; in any process, any thread
        histogram.percentile(99), histogram.mean, print(histogram)

    Percentiles are off by less than 6 % from 500 ns to 5,000 s (83 minutes); count, sum, min, max,
    mean and std_dev are those of what was recorded, rounded to nanoseconds. Each figure is of its
    own instant; `read()` gives all of one.

    There are 24 buckets a decade, with round bounds: 1, 1.1, 1.2, 1.3, 1.45, 1.6, 1.75, 1.9, 2.1,
    2.3, 2.5, 2.75, 3, 3.35, 3.7, 4.1, 4.5, 5, 5.5, 6, 6.7, 7.5, 8.25 and 9.1 times a power of
    ten. A duration that equals a bound belongs to the bucket which ends there, as in Prometheus.

    Args:
        file: a path, descriptor or file object that backs it; what stands there is kept. None:
            memory that goes with the last process that has it mapped.

    Raises:
        ValueError: `file` is not a regular file, or holds something else.
        TypeError: `file` is none of the above.
        PermissionError: `file` is the path of a link, of another user's file, or of one that others
            may write to.
        OSError: `file` cannot be opened, grown or mapped.
    """

    LOWEST: ClassVar[float] = distribution.LOWEST / 1e9
    """Durations that are not longer than this are outliers. Seconds."""
    HIGHEST: ClassVar[float] = distribution.HIGHEST / 1e9
    """Longer durations are outliers. Seconds."""

    def __init__(self, *, file: pages.File | None = None) -> None:
        self._fd = -1
        self._fd = pages.open_shared(file, "raindrops-histogram")
        try:
            _check(self._fd, file)
            pages.reserve(self._fd, LENGTH)
            self._map()
        except BaseException:
            self.close()
            raise
        if file is None:
            pages.seal(self._fd)

    def _map(self) -> None:
        mapping = pages.Mapping(self._fd, LENGTH)
        ffi.memmove(mapping.address, HEADER, len(HEADER))
        self._show(mapping.location + len(HEADER), mapping)

    def _check_open(self) -> pages.Mapping:
        mapping = self._mapping
        if not isinstance(mapping, pages.Mapping):
            raise ValueError("this histogram is closed")
        return mapping

    def read(self) -> Distribution:
        """Return what it holds now, as a private copy with the same figures.

        Raises:
            ValueError: it is closed, as everything below.
        """
        words = ffi.new("struct grd_histogram *")
        mapping = self._check_open()  # held until it is read, whoever closes meanwhile
        lib.grd_histogram_read(words, _struct_in(mapping))
        return Distribution(words)

    def merge(self, other: Histogram | Distribution) -> None:
        """Add all that another histogram holds now, as if it had been recorded here.

        Others may read and record meanwhile; to them it comes bucket by bucket.

        Raises:
            TypeError: `other` is neither a Histogram nor a Distribution.
        """
        if not isinstance(other, (Histogram, Distribution)):
            raise TypeError(f"other must be a Histogram, not {type(other).__name__}")
        words = (other.read() if isinstance(other, Histogram) else other)._words
        mapping = self._check_open()
        lib.grd_histogram_merge(_struct_in(mapping), words)

    def copy(self) -> Histogram:
        """Return an independent one, in new memory, that holds what this one holds now."""
        read = self.read()
        other = Histogram()
        other.merge(read)
        return other

    __copy__ = copy

    @property
    def count(self) -> int:
        """See `Distribution`, as for all of these."""
        return self.read().count

    @property
    def sum(self) -> float:
        return self.read().sum

    @property
    def min(self) -> float | None:
        return self.read().min

    @property
    def max(self) -> float | None:
        return self.read().max

    @property
    def mean(self) -> float | None:
        return self.read().mean

    @property
    def std_dev(self) -> float | None:
        return self.read().std_dev

    @property
    def outliers_low(self) -> int:
        return self.read().outliers_low

    @property
    def outliers_high(self) -> int:
        return self.read().outliers_high

    def percentile(self, q: float) -> float | None:
        """Return the duration that `q` per cent do not exceed; see `Distribution`."""
        return self.read().percentile(q)

    def as_dict(self) -> dict[str, float | None]:
        """Return count, sum, p50, p90, p99 and max, all of one instant."""
        return self.read().as_dict()

    def __str__(self) -> str:
        return str(self.read())

    def __repr__(self) -> str:
        state = "closed" if self._mapping is None else f"count={self.count}"
        return f"<{type(self).__name__} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a shared histogram cannot be pickled; processes share it by forking")


def _check(fd: int, file: pages.File | None) -> None:
    """Raise ValueError if a file holds anything but a histogram of this format."""
    # Zeros are a file that somebody has made and not yet begun; a shorter one is grown.
    found = os.pread(fd, len(HEADER), 0)
    if not found.strip(b"\0") or found == HEADER:
        return
    if found.startswith(MAGIC):
        raise ValueError(f"file {file!r} is a histogram of another format than {VERSION}")
    raise ValueError(f"file {file!r} is not a histogram")


def _struct_in(mapping: pages.Mapping) -> Pointer:
    return ffi.cast("struct grd_histogram *", ffi.cast("char *", mapping.address) + len(HEADER))
