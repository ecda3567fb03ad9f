"""The thread that samples the listeners, and what it has found: `Sampler`.

Who owns what. A sampler belongs to the process that made it; after a fork it is the parent's, and
nothing of it may be used (its lock could have been held). Its thread is the only one that adds
samples. Those that answer requests read, wait and reset under the one lock, `_turned`.

Locks and threads are whatever the process has when its first request comes. Under gevent and
eventlet that is theirs: the sampler is a greenlet then, and a request that waits for the next
sample waits as a greenlet, too. A query blocks, for the fraction of a millisecond that it takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..listeners import ListenStats
from ..status.boundary import Boundary
from .aggregate import Aggregate

KINDS = ("active", "queued")
"""What is sampled of each listener, in this order."""

PATIENCE = 5.0
"""The longest, s, that a request waits for a sample."""

MOST_GONE = 4096
"""How many listeners are remembered that are there no more. Any program may open and close them
under ever new names."""


class Snapshot(NamedTuple):
    """What the last sample found.

    Attributes:
        turn: how many times the kernel has been asked, failures included.
        at: when it last answered, Unix seconds.
        listeners: address to (active, queued).
        is_last: whether the sampler was closed.
    """

    turn: int
    at: float
    listeners: Mapping[str, tuple[int, int]]
    is_last: bool = False


class Figures(NamedTuple):
    """What the samples of one figure amount to. Instants are Unix seconds.

    Attributes:
        aggregate: of the samples since `last_reset`; a copy.
        current: the last sample.
        last_reset: when the aggregate began.
        first_peak: when the highest sample was first reached; the sampler's start, if no sample
            has reached the one before. A reset keeps both peaks, as the original does.
        last_peak: when it was last reached.
        at: when the last sample was taken.
    """

    aggregate: Aggregate
    current: int
    last_reset: float
    first_peak: float
    last_peak: float
    at: float


class _Series:
    """The samples of one figure of one listener."""

    def __init__(self, started: float) -> None:
        self.aggregate = Aggregate()
        self.last_reset = self.first_peak = self.last_peak = started

    def add(self, number: int, now: float) -> None:
        """Add a sample; the first one of all is no peak, since it is compared with none."""
        highest = self.aggregate.max
        if highest is not None and number >= max(highest, 1):
            self.last_peak = now
            if number > highest:
                self.first_peak = now
        self.aggregate.add(number)

    def reset(self, now: float) -> None:
        """Begin anew."""
        self.aggregate, self.last_reset = Aggregate(), now


class Sampler:
    """Asks for the listeners every `delay` seconds and keeps what they amount to.

    Args:
        read: returns the listeners.
        delay: seconds from one sample to the next.
        warn: called with a line when `read` fails. The sampler goes on.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, ListenStats]],
        delay: float,
        warn: Callable[[str], None],
    ) -> None:
        self._read, self._delay = read, delay
        self._boundary = Boundary(warn)
        self._started = time.time()
        self._series: dict[str, tuple[_Series, _Series]] = {}
        self._turned = threading.Condition()
        self._thread: threading.Thread | None = None
        self.snapshot = Snapshot(0, self._started, {})

    def start(self) -> None:
        """Start the thread, if it does not run, and wait for its first sample."""
        if self.snapshot.turn:
            return
        with self._turned:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="raindrops-watcher", daemon=True)
                thread.start()
                self._thread = thread
        self.wait(0)

    def _run(self) -> None:
        due = time.monotonic()
        while not self.snapshot.is_last:
            self.sample()
            due = max(due + self._delay, time.monotonic())
            with self._turned:
                self._turned.wait_for(lambda: self.snapshot.is_last, due - time.monotonic())

    def sample(self) -> None:
        """Take one sample, and wake up those that wait for it."""
        found = self._boundary.run("the listeners cannot be read", self._read, None)
        with self._turned:
            if not self.snapshot.is_last:
                self._publish(found)
            self._turned.notify_all()

    def _publish(self, found: Mapping[str, ListenStats] | None) -> None:
        turn = self.snapshot.turn + 1
        if found is None:
            self.snapshot = self.snapshot._replace(turn=turn)
            return
        now = time.time()
        listeners = {
            address: (stats.active, stats.queued)
            for address, stats in found.items()
            if stats.active is not None and stats.queued is not None
        }
        for address, sampled in listeners.items():
            for series, number in zip(self._series_of(address), sampled, strict=True):
                series.add(number, now)
        self._forget(listeners)
        self.snapshot = Snapshot(turn, now, listeners)

    def _series_of(self, address: str) -> tuple[_Series, _Series]:
        if address not in self._series:
            self._series[address] = _Series(self._started), _Series(self._started)
        return self._series[address]

    def _forget(self, listeners: Mapping[str, object]) -> None:
        """Forget those that have gone, once they are too many: the longest known first."""
        excess = len(self._series) - len(listeners) - MOST_GONE
        if excess > 0:
            for address in [one for one in self._series if one not in listeners][:excess]:
                del self._series[address]

    def wait(self, turn: int, seconds: float | None = PATIENCE) -> Snapshot:
        """Return the newest snapshot: at once if it is later than a turn, else when it has come,
        the sampler is closed or the time is over."""
        with self._turned:
            self._turned.wait_for(
                lambda: self.snapshot.turn > turn or self.snapshot.is_last, seconds
            )
            return self.snapshot

    def figures(self, address: str, which: int) -> Figures:
        """Return the figures of a listener's active (0) or queued (1) connections; those of a
        listener that is not there are empty."""
        with self._turned:
            _, at, listeners, _ = self.snapshot
            if address not in listeners:
                start = self._started
                return Figures(Aggregate(), 0, start, start, start, at)
            series = self._series[address][which]
            return Figures(
                series.aggregate.copy(),
                listeners[address][which],
                series.last_reset,
                series.first_peak,
                series.last_peak,
                at,
            )

    def reset(self, address: str) -> bool:
        """Begin a listener's figures anew, and wait until they have a sample again; return False
        for a listener that was never there."""
        with self._turned:
            if address not in self._series:
                return False
            for series in self._series[address]:
                series.reset(time.time())
            turn = self.snapshot.turn
        self.wait(turn)
        return True

    def close(self) -> None:
        """End the thread, and the waits for it."""
        with self._turned:
            self.snapshot = self.snapshot._replace(is_last=True)
            self._turned.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(PATIENCE)
