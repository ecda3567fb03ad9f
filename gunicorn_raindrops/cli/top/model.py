"""What `top` knows and shows: samples in, keys in, rows out. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .cells import clock
from .rates import with_rates
from .sample import Sample, Status, Worker, parse

FIGURES = (
    "calling",
    "writing",
    "reading",
    "waiting",
    "queued",
    "requests/s",
    "saturation",
    "workers",
)
HISTORY = 512
"""Samples that are kept of each figure: no terminal is so wide."""

_LONGEST_FILTER = 60
_BUSY_FIRST = ("calling", "writing", "reading", "starting", "finishing", "idle")

Order = Callable[[Worker], tuple[float, ...]]


def _most(value: float | None) -> float:
    """Return a key that sorts large figures first, and unknown ones last."""
    return 1.0 if value is None else -value


def _age(worker: Worker) -> float:
    return _most(worker.current.seconds if worker.current else None)


def _state(worker: Worker) -> float:
    return _BUSY_FIRST.index(worker.state) if worker.state in _BUSY_FIRST else len(_BUSY_FIRST)


ORDERS: dict[str, Order] = {
    "age of request": lambda one: (_age(one), _state(one), one.slot),
    "state": lambda one: (_state(one), _age(one), one.slot),
    "requests/s": lambda one: (_most(one.rate), one.slot),
    "CPU": lambda one: (_most(one.load), one.slot),
    "memory": lambda one: (_most(one.rss_bytes), one.slot),
    "slot": lambda one: (one.slot,),
}


class Model:
    """The state of the screen.

    Attributes:
        shown: the sample on the screen; None before the first one.
        history: the last figures of the server, the oldest first; None where it did not answer.
        problem: why there are no new figures, if there are none.
        note: what the figures cannot tell.
        order: a name of ORDERS.
        filter: what a row must contain.
        first: how many rows are scrolled past.
    """

    def __init__(self) -> None:
        self.shown: Sample | None = None
        self.history: dict[str, deque[float | None]] = {
            name: deque(maxlen=HISTORY) for name in FIGURES
        }
        self.problem: str | None = None
        self.note = ""
        self.order = next(iter(ORDERS))
        self.filter = ""
        self.first = 0
        self.is_typing = self.is_paused = self.is_help = self.is_over = False
        self._latest: Sample | None = None
        self._failing_since = 0.0
        self._page = 1

    def feed(self, status: Status) -> None:
        """Take a status.

        Raises:
            Failed: it is none.
        """
        sample = parse(status)
        if self._latest and sample.time == self._latest.time:  # an answer that was kept
            return
        self._latest = with_rates(sample, self._latest)
        self.problem, self._failing_since = None, 0.0
        for name, values in self.history.items():
            values.append(self._latest.figures[name])
        if not self.is_paused:
            self.shown = self._latest

    def fail(self, reason: str, now: float, *, is_final: bool = False) -> None:
        """Take note that there is no status now, Unix time.

        Args:
            reason: why.
            now: when, Unix time.
            is_final: whether there will be none any more.
        """
        self._failing_since = self._failing_since or now
        since = clock(self._failing_since)
        if is_final:
            self.problem = f"{reason} at {since}; these are its last figures (q quits)"
        else:
            self.problem = f"no answer since {since}, waiting for one: {reason}"
        for values in self.history.values():
            values.append(None)

    def rows(self, height: int) -> list[Worker]:
        """Return the workers to show, as many as there is room for, in their order."""
        self._page = max(1, height)
        rows = sorted(self.matching(), key=ORDERS[self.order])
        self.first = max(0, min(self.first, len(rows) - height))
        return rows[self.first : self.first + max(0, height)]

    def matching(self) -> list[Worker]:
        """Return the workers that the filter admits."""
        workers = self.shown.workers if self.shown else ()
        wanted = self.filter.casefold()
        return [one for one in workers if not wanted or wanted in _searched(one)]

    def press(self, key: str) -> None:
        """Do what a key says."""
        if self.is_typing:
            self._type(key)
        elif self.is_help:
            self.is_help = False
        elif key in _ACTIONS:
            _ACTIONS[key](self)

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.is_typing = False
            self.filter = self.filter if key == "enter" else ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif key == "clear":
            self.filter = ""
        elif len(key) == 1:
            self.filter = (self.filter + key)[:_LONGEST_FILTER]

    def _next_order(self, step: int) -> None:
        names = list(ORDERS)
        self.order = names[(names.index(self.order) + step) % len(names)]
        self.first = 0

    def _pause(self) -> None:
        self.is_paused = not self.is_paused
        self.shown = self.shown if self.is_paused else self._latest

    def _start_typing(self) -> None:
        self.is_typing, self.first = True, 0

    def _help(self) -> None:
        self.is_help = True

    def _quit(self) -> None:
        self.is_over = True

    def _clear(self) -> None:
        self.filter = ""

    def _scroll(self, rows: int) -> None:
        self.first = max(0, self.first + rows)


def _searched(worker: Worker) -> str:
    words = [worker.state, str(worker.pid), str(worker.slot)]
    if worker.current:
        words += [f"{worker.current.method} {worker.current.path}", worker.current.where]
    return "\n".join(words).casefold()


_ACTIONS: dict[str, Callable[[Model], None]] = {
    "q": Model._quit,
    "s": lambda model: model._next_order(1),
    "S": lambda model: model._next_order(-1),
    "p": Model._pause,
    " ": Model._pause,
    "/": Model._start_typing,
    "f": Model._start_typing,
    "escape": Model._clear,
    "h": Model._help,
    "?": Model._help,
    "up": lambda model: model._scroll(-1),
    "k": lambda model: model._scroll(-1),
    "down": lambda model: model._scroll(1),
    "j": lambda model: model._scroll(1),
    "page up": lambda model: model._scroll(-model._page),
    "page down": lambda model: model._scroll(model._page),
    "home": lambda model: model._scroll(-model.first),
    "end": lambda model: model._scroll(len(model.matching())),
}
