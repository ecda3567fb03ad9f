"""What a series of counts amounts to: `Aggregate`, with the figures of Ruby's library of that name.

Raindrops' Watcher shows these figures, so their values, the way they are written and the drawing
are the library's. A count of zero is a low outlier: it has no binary logarithm, and no bucket.
`Histogram` has other buckets, which are for durations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

BUCKETS = 128
"""Bucket i holds the counts from 2**i to 2**(i + 1) - 1."""

_COLUMNS = 80
_EMPTY = "Empty histogram"  # as the library has it; programs may look for it


class Aggregate:
    """Counts that were added: how many, their figures, and how many are in each bucket.

    Attributes:
        count: how many were added, outliers included.
        sum: of all, exact.
        min: the lowest; None while there is none.
        max: the highest; None while there is none.
        outliers_low: how many were 0.
        outliers_high: how many were 2**127 or more.
    """

    def __init__(self) -> None:
        self.count = self.sum = self._squares = 0
        self.min: int | None = None
        self.max: int | None = None
        self.outliers_low = self.outliers_high = 0
        self._buckets: dict[int, int] = {}

    def add(self, number: int) -> None:
        """Add a count, 0 or more."""
        self.count += 1
        self.sum += number
        self._squares += number * number
        self.min = number if self.min is None else min(self.min, number)
        self.max = number if self.max is None else max(self.max, number)
        bucket = number.bit_length() - 1
        if bucket < 0:
            self.outliers_low += 1
        elif bucket >= BUCKETS - 1:  # the last one is there for the drawing alone
            self.outliers_high += 1
        else:
            self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def copy(self) -> Aggregate:
        """Return an independent one with the same figures."""
        other = Aggregate()
        other.__dict__.update(self.__dict__, _buckets=self._buckets.copy())
        return other

    @property
    def mean(self) -> float:
        """Sum by count; NaN of none."""
        return self.sum / self.count if self.count else math.nan

    @property
    def std_dev(self) -> float:
        """The standard deviation of a sample (divided by count - 1); NaN of fewer than two."""
        if self.count < 2:
            return math.nan
        # In this order of floats the last digit is Ruby's. Both sides are rounded once, so the
        # difference is never below 0.
        spread = self._squares - self.sum * self.sum / self.count
        return math.sqrt(spread / (self.count - 1))

    def __str__(self) -> str:
        """Draw the buckets: ASCII, 80 columns, a row each, gaps as a tilde."""
        return "".join(self._rows()) or _EMPTY

    def _rows(self) -> Iterator[str]:
        if not self._buckets:
            return
        used = sorted(self._buckets)
        total, most = sum(self._buckets.values()), max(self._buckets.values())
        left = max(len(str(2 ** used[-1])), len("value"))
        right = max(len(str(total)), len("count"))
        bar = _COLUMNS - left - right - len(" || ")
        yield f"{'value':>{left}} |{'-' * bar}| {'count':>{right}}\n"
        for before, i in zip([used[0] - 1, *used], used, strict=False):
            if before != i - 1:
                yield _gap(left)
            count = self._buckets[i]
            signs = "@" * int(count / max(most / bar, 1.0))
            yield f"{2**i:>{left}} |{signs:<{bar}}| {count:>{right}}\n"
        yield _gap(left)
        yield f"{'Total':>{left}} |{'-' * bar}| {total:>{right}}\n"


def _gap(left: int) -> str:
    return f"{'':>{left}} ~\n"


def number_text(number: float | None) -> str:
    """Write a figure as Ruby does: nothing for None, `NaN`, `1.0e-05`."""
    if number is None:
        return ""
    if math.isnan(number):
        return "NaN"
    text = repr(number)
    return text.replace("e", ".0e") if "e" in text and "." not in text else text
