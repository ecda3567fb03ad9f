"""A status for people to read: the lines of the text URL, then the workers in a table. Pure.

The status is as JSON has it, of this program or of a server that anybody may have written. So each
figure is shown if it is one, and `-` else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..exporters import text
from ..exporters.printable import printable
from .terminal import Failed

_LONGEST_STATE = 12
_MIB = 2**20
_NONE = "-"

Status = Mapping[str, Any]


def lines(status: Status) -> list[str]:
    """Return the lines of a status.

    Raises:
        Failed: it is none.
    """
    try:
        return list(_lines(status))
    except (TypeError, LookupError, AttributeError, ValueError, ArithmeticError):
        raise Failed("this is no status of gunicorn-raindrops") from None


def _lines(status: Status) -> Iterator[str]:
    yield from text.lines(status)
    if workers := status["workers"]:
        yield ""
        yield from _table([_HEAD, *map(_row, workers)])


_HEAD = ("slot", "pid", "age", "state", "since", "requests", "cpu", "rss", "lag", "request")
_LEFT = {_HEAD.index("state"), _HEAD.index("request")}


def _row(worker: Status) -> tuple[str, ...]:
    current = worker["current"]
    return (
        _count(worker["slot"]),
        _count(worker["pid"]),
        _count(worker["age"]),
        _text(worker["state"])[:_LONGEST_STATE],
        _NONE if current is None else seconds(current["seconds"]),
        _count(worker["requests"]),
        seconds(worker["cpu_seconds"]),
        size(worker["rss_bytes"]),
        seconds(worker["lag_seconds"]),
        "" if current is None else _request(current),
    )


def _request(current: Status) -> str:
    """Return a request in flight. `where` it stands is known of one that has run for a while."""
    line = f"{_text(current['method'])} {_text(current['path'])}"
    where = current.get("where")
    return f"{line}  {_text(where)}" if where else line


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Yield aligned columns; the last one is as wide as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    for row in rows:
        cells = (
            cell.ljust(width) if at in _LEFT else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield " ".join(cells).rstrip()


def _text(value: Any) -> str:
    return printable(value) if isinstance(value, str) else _NONE


def _count(value: Any) -> str:
    return str(value) if isinstance(value, int) else _NONE


def seconds(value: Any) -> str:
    """Return a duration."""
    if not isinstance(value, (int, float)):
        return _NONE
    if value < 1:
        return f"{value * 1000:.0f}ms"
    if value < 600:
        return f"{value:.1f}s"
    if value < 36000:
        return f"{value / 60:.0f}m"
    return f"{value / 3600:.0f}h"


def size(value: Any) -> str:
    """Return how much memory it is."""
    return f"{value / _MIB:.1f}M" if isinstance(value, int) else _NONE
