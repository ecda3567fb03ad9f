"""Reads a source again and again, in a thread: keys are answered while a server does not answer.

What looks must not weigh on the machine that it looks at. So the delay is longer where reading
takes much processor time, as of a server with a thousand workers.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from ..terminal import Failed
from .source import Ended, News, Source

_SHARE = 30  # times as long as a reading took of a processor: with the drawing it is 5 % of one


class Reader:
    """Has the latest news of a source.

    Args:
        source: what is read.
        delay: seconds from one reading's begin to the next one's, at least.
        wake: called, in the thread, when there is something.
    """

    def __init__(self, source: Source, delay: float, wake: Callable[[], None]) -> None:
        self._source = source
        self._delay = delay
        self._wake = wake
        self._found: queue.SimpleQueue[News | Failed] = queue.SimpleQueue()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Reader:
        """Begin a delay from now."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, without waiting for a server that does not answer."""
        self._end.set()

    def news(self) -> list[News | Failed]:
        """Return what was read since the last call."""
        found = []
        while not self._found.empty():
            found.append(self._found.get())
        return found

    def _run(self) -> None:
        due = time.monotonic() + self._delay
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due, used = time.monotonic(), time.thread_time()
            one = self._read()
            due += max(self._delay, _SHARE * (time.thread_time() - used))
            self._found.put(one)
            self._wake()
            if isinstance(one, Ended):
                return

    def _read(self) -> News | Failed:
        try:
            return self._source.read()
        except Failed as failed:
            return failed
