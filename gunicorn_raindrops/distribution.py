"""What a histogram held at one instant, its figures, and how it is drawn.

A `Distribution` is a private copy, so its figures fit together and it needs no closing. What its
buckets are, and why no percentile is off by more than 5.7 %, says histogram.h.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ._native._scoreboard import ffi, lib

if TYPE_CHECKING:
    from ._native._scoreboard import Pointer

LAST: int = lib.GRD_HISTOGRAM_BUCKETS - 1
_BOUNDS: tuple[int, ...] = tuple(lib.grd_histogram_bound(i) for i in range(LAST))
"""The most that each bucket but the last holds, ns."""
LOWEST, HIGHEST = _BOUNDS[0], _BOUNDS[-1]
"""Above where and up to where buckets go, ns."""
_BUCKETS = {bound: i for i, bound in enumerate(_BOUNDS)}

_ALL = 2**64 - 1
_ROWS = 24  # of a drawing: more, and they are made wider instead
_STEPS = (1, 2, 3, 6, 8, 12)  # buckets in a row: parts of a decade
_BAR = 56  # columns for bar and count; with the rest of a row that is 80


def bound_of(bucket: int) -> int:
    """Return the most, ns, that a bucket holds. Buckets 0 and LAST hold the outliers; LAST has no
    such bound."""
    return _BOUNDS[bucket]


def bucket_up_to(seconds: float) -> int:
    """Return the bucket that ends at a bound, for `Distribution.reached`.

    Raises:
        KeyError: none ends there.
    """
    return _BUCKETS[round(seconds * 1e9)]


class Distribution:
    """The durations that one or more histograms held, in seconds.

    Every figure but `count` and `sum` is None where nothing was recorded.
    """

    def __init__(self, words: Pointer | None = None) -> None:
        """Take over a `struct grd_histogram` that nobody writes to any more; None: an empty one."""
        self._words = words if words is not None else ffi.new("struct grd_histogram *")
        self._buckets: list[int] = ffi.unpack(self._words.buckets, LAST + 1)
        self._reached: list[int] = list(accumulate(self._buckets))
        # Nanoseconds, exact.
        self._sum = int(self._words.sum)
        self._min = _ALL - int(self._words.lowest)
        self._max = int(self._words.highest)

    @property
    def count(self) -> int:
        """How many durations were recorded, outliers included."""
        return self._reached[-1]

    @property
    def sum(self) -> float:
        """Their sum: exact to the nanosecond while it fits a float so."""
        return self._sum / 1e9

    @property
    def min(self) -> float | None:
        """The shortest, exact."""
        return self._min / 1e9 if self.count else None

    @property
    def max(self) -> float | None:
        """The longest, exact."""
        return self._max / 1e9 if self.count else None

    @property
    def mean(self) -> float | None:
        """Sum by count."""
        # While others record, the sum may be a few records ahead of the count.
        return self._between(self._sum / self.count) if self.count else None

    @property
    def std_dev(self) -> float | None:
        """The standard deviation of all of them (divided by count), from exact squares."""
        if not self.count:
            return None
        squares = sum(
            limb << (lib.GRD_HISTOGRAM_LIMB_BITS * i)
            for i, limb in enumerate(ffi.unpack(self._words.squares, 4))
        )
        # In integers, since these are two large numbers that nearly cancel.
        return math.sqrt(max(self.count * squares - self._sum**2, 0)) / self.count / 1e9

    @property
    def outliers_low(self) -> int:
        """How many were under the range of the buckets: at most 500 ns."""
        return self._buckets[0]

    @property
    def outliers_high(self) -> int:
        """How many were over the range of the buckets: above 5,000 s (83 minutes)."""
        return self._buckets[LAST]

    def percentile(self, q: float) -> float | None:
        """Return the duration that `q` per cent of all do not exceed (nearest rank).

        `q` counts to six decimals. The figure is off by less than 6 %; the first and the last are
        exact. Among the outliers it is `min` or `max`.

        Raises:
            ValueError: `q` is not from 0 to 100.
            TypeError: `q` is not a number.
        """
        share = _millionths(q)
        if not self.count:
            return None
        rank = -(-share * self.count // 10**8)
        if rank <= 1 or rank >= self.count:
            return self.min if rank <= 1 else self.max
        return self._between(self._value_of(bisect_left(self._reached, rank)))

    def _value_of(self, bucket: int) -> float:
        if bucket in (0, LAST):
            return self._max if bucket else self._min
        low, high = _BOUNDS[bucket - 1], _BOUNDS[bucket]
        return 2 * low * high / (low + high)

    def _between(self, ns: float) -> float:
        """Return nanoseconds as seconds; what is between min and max can only be truer."""
        return min(max(ns, self._min), self._max) / 1e9

    def buckets(self) -> Iterator[tuple[float, float, int]]:
        """Yield (from above, to at most, count) of each bucket that has any, in order. The first
        may begin with 0, and the last end at infinity."""
        for i, count in enumerate(self._buckets):
            if count:
                low = _BOUNDS[i - 1] / 1e9 if i else 0.0
                yield low, math.inf if i == LAST else _BOUNDS[i] / 1e9, count

    def reached(self, bucket: int) -> int:
        """Return how many are in the buckets up to this one: exactly those whose duration is at
        most its bound."""
        return self._reached[bucket]

    def as_dict(self) -> dict[str, float | None]:
        """Return count, sum, p50, p90, p99 and max, as the status shows them."""
        return {
            "count": self.count,
            "sum": self.sum,
            "p50": self.percentile(50),
            "p90": self.percentile(90),
            "p99": self.percentile(99),
            "max": self.max,
        }

    def __add__(self, other: Distribution) -> Distribution:
        """Return what one histogram would hold in which the durations of both were recorded."""
        if not isinstance(other, Distribution):
            return NotImplemented
        words = ffi.new("struct grd_histogram *")
        for one in (self, other):
            lib.grd_histogram_merge(words, one._words)
        return Distribution(words)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Distribution):
            return NotImplemented
        return bytes(ffi.buffer(self._words)) == bytes(ffi.buffer(other._words))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} count={self.count} sum={self.sum:.6g}>"

    def __str__(self) -> str:
        """Draw it: the figures, then a row for each range of durations. ASCII, 80 columns."""
        return "\n".join([*self._figures(), *_rows(self._buckets)])

    def _figures(self) -> Iterator[str]:
        if not self.count:
            yield "nothing recorded"
            return
        names = {"min": self.min, "mean": self.mean, "max": self.max, "std dev": self.std_dev}
        yield f"{self.count} recorded" + "".join(f", {k} {text(v)}" for k, v in names.items())
        yield ", ".join(f"p{q} {text(self.percentile(q))}" for q in (50, 90, 99, 99.9))


def _millionths(q: float) -> int:
    """Return a percentage as an integer, so that 99.9 % of 1000 is 999: floats would say more."""
    if not isinstance(q, (int, float)):
        raise TypeError(f"q must be a number, not {q!r}")
    if not 0 <= q <= 100:
        raise ValueError(f"q must be from 0 to 100, not {q!r}")
    return round(q * 10**6)


def text(seconds: float | None) -> str:
    """Write a duration with three digits and the unit that fits."""
    ns = (seconds or 0.0) * 1e9
    for unit, size, limit in (("ns", 1, 1e3), ("us", 1e3, 1e6), ("ms", 1e6, 1e9), ("s", 1e9, 1e11)):
        if ns < limit * 0.9995:
            return f"{ns / size:.3g} {unit}"
    minutes = ns / 6e10
    return f"{minutes:.3g} min" if minutes < 999.5 else f"{minutes:.0f} min"


def _rows(buckets: list[int]) -> Iterator[str]:
    """Yield the rows from the first with a count to the last, gaps as a tilde."""
    rows = _grouped(buckets)
    used = [i for i, (_, count) in enumerate(rows) if count]
    if not used:
        return
    most = max(count for _, count in rows)
    width = len(str(most))
    before = used[0]
    for i in used:
        if i - before > 2:
            yield f"{'~':>11}"
        elif i - before == 2:
            yield _row(*rows[i - 1], most, width)
        yield _row(*rows[i], most, width)
        before = i


def _grouped(buckets: list[int]) -> list[tuple[str, int]]:
    """Return rows of one bucket, or of as many as a row needs for all to fit: label and count."""
    used = [i for i in range(1, LAST) if buckets[i]] or [0]
    step = next(step for step in _STEPS if (used[-1] - used[0]) // step < _ROWS)
    edges = [text(_BOUNDS[i] / 1e9) for i in range(0, LAST, step)]
    labels = [f"{low} to {high}" for low, high in pairwise(edges)]
    sums = [sum(buckets[i : i + step]) for i in range(1, LAST, step)]
    rows = list(zip(labels, sums, strict=True))
    low, high = text(LOWEST / 1e9), text(HIGHEST / 1e9)
    return [(f"up to {low}", buckets[0]), *rows, (f"over {high}", buckets[LAST])]


def _row(label: str, count: int, most: int, width: int) -> str:
    bar = "#" * math.ceil(count * (_BAR - width) / most)
    return f"{label:>20} |{bar:<{_BAR - width}}| {count:>{width}}"
