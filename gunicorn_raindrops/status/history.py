"""The last ten minutes, for readers that come late: what `PATH.json?history` has.

The leading worker keeps a moment each second (see `scoreboard.history`). All figures of a moment
are of one instant, as a snapshot's are. So a peak between two moments is in none of them; the
high-water marks have it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..sampler import Sampler, mark
from ..scoreboard import history
from ..scoreboard.board import Scoreboard
from ..scoreboard.records import Moment

COLUMNS = ("calling", "writing", "reading", "waiting", "queued")


class History:
    """Keeps moments in a scoreboard, and returns them.

    Args:
        sampler: what is kept.
        board: where.
    """

    def __init__(self, sampler: Sampler, board: Scoreboard) -> None:
        self._sampler = sampler
        self._board = board

    def keep(self) -> None:
        """Keep this second, and raise the high-water marks of who waits."""
        queued, waiting = mark(self._sampler, self._board)
        now = self._board.in_flight()
        moment = Moment(
            second=int(time.time()),
            calling=now.calling,
            writing=now.writing,
            reading=now.reading,
            waiting=waiting,
            queued=queued,
            capacity=now.capacity,
        )
        history.keep(self._board.header, moment)

    def read(self) -> Mapping[str, Sequence[Any]]:
        """Return what is kept as columns, the oldest second first: `time`, Unix time, then the
        figures of a snapshot of the same names; None for what was not known."""
        return columns(history.kept(self._board.header, int(time.time())))


def columns(moments: Sequence[Moment]) -> dict[str, list[Any]]:
    """Return moments as columns."""
    figures = {name: [vars(moment)[name] for moment in moments] for name in COLUMNS}
    times = [moment.second for moment in moments]
    return {"time": times, **figures, "saturation": [_saturation(moment) for moment in moments]}


def _saturation(moment: Moment) -> float | None:
    if not moment.capacity or moment.queued is None:
        return None
    held = [vars(moment)[name] or 0 for name in COLUMNS]
    return round(sum(held) / moment.capacity, 3)
