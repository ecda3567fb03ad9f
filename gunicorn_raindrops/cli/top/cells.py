"""Parts of a line, each of an exact width, in letters that the terminal has. Pure.

Whatever text comes in, what goes out is printable and has no more columns than were asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..report import seconds
from ..terminal import columns, fit

_SPARKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_ASCII_SPARKS = "_.-:=+*#"
_LAST_TIME = 2**32  # Unix time


class Cells:
    """Makes them.

    Args:
        is_ascii: whether the terminal has no other letters.
    """

    def __init__(self, is_ascii: bool) -> None:
        self.is_ascii = is_ascii
        self._sparks = _ASCII_SPARKS if is_ascii else _SPARKS

    def cut(self, text: str, width: int) -> str:
        """Return a text, cut at its end."""
        # letters of no width must not add up
        return fit(text[: 4 * max(0, width)], max(0, width), is_ascii=self.is_ascii)

    def left(self, text: str, width: int) -> str:
        """Return a text that stands at the left."""
        shown = self.cut(text, width)
        return shown + " " * (width - columns(shown))

    def right(self, text: str, width: int) -> str:
        """Return a text that stands at the right."""
        shown = self.cut(text, width)
        return " " * (width - columns(shown)) + shown

    def spark(self, values: Iterable[float | None], width: int, least: float = 1.0) -> str:
        """Return a line of bars, the latest at the right; blanks for what is not known.

        Args:
            values: the oldest first.
            width: how many of the last to show.
            least: what is a full bar, unless one of them is more.
        """
        last = list(values)[-width:] if width > 0 else []
        top = max([least, *(one for one in last if one is not None)])
        return "".join(self._bar(one, top) for one in last).rjust(max(0, width))

    def _bar(self, value: float | None, top: float) -> str:
        if value is None:
            return " "
        full = len(self._sparks) - 1
        level = 0 if value <= 0 else max(1, min(full, round(value / top * full)))
        return self._sparks[level]

    @staticmethod
    def gauge(part: float | None, whole: float | None, width: int) -> str:
        """Return a bar that is filled by a part of the whole; the least part shows."""
        inside = max(0, width - 2)
        share = 0.0 if not part or not whole or whole < 0 else min(1.0, max(0.0, part / whole))
        filled = max(1, int(share * inside)) if share and inside else 0
        return f"[{'#' * filled}{'.' * (inside - filled)}]"[: max(0, width)]


def count(value: float | None) -> str:
    """Return a whole figure."""
    return "-" if value is None else f"{value:.0f}"


def rate(value: float | None) -> str:
    """Return a figure with as many digits as matter."""
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def percent(value: float | None) -> str:
    """Return a share."""
    return "-" if value is None else f"{value:.0%}"


def clock(when: float | None) -> str:
    """Return the time of day of a Unix time."""
    if when is None or not 0 <= when < _LAST_TIME:
        return "-"
    return time.strftime("%H:%M:%S", time.localtime(when))


__all__ = ["Cells", "clock", "count", "percent", "rate", "seconds"]
