"""How long a look at slow requests keeps other threads from the interpreter.

Bar: 2 ms at a time for a look at 1,000 slow requests on an asyncio loop. A look gives the
interpreter up now and then; the processor time between two such pauses is taken, the longest of
each look. Beside it stands what another thread sees that only reads the clock: its longest gap
during a look, and during as long a sleep, which is the machine's noise.
"""

import asyncio
import statistics
import sys
import threading
import time
from collections.abc import Callable

import common

from gunicorn_raindrops.counting import asgi, attached
from gunicorn_raindrops.counting.attached import AttachedSlot
from gunicorn_raindrops.looking import looker
from gunicorn_raindrops.looking.looker import Looker
from gunicorn_raindrops.looking.tasks import OfTasks
from gunicorn_raindrops.scoreboard.board import Scoreboard

REQUESTS = 1000
DEEP = 20  # coroutines of each
BAR = 2.0  # ms


def main() -> None:
    rounds = 20 if common.arguments(__doc__).quick else 200
    looker.AGE = 0
    board = Scoreboard(1)
    claim = board.claim()
    assert claim is not None
    assert attached.take_over(board, claim, 1, REQUESTS)
    stretches, looks, sleeps = asyncio.run(loaded(rounds))
    print(f"  the longest stretch of a look  {common.spread(stretches, ' ms', 2)}")
    print(f"  the longest gap during a look  {common.spread(looks, ' ms', 2)}")
    print(f"  the longest gap during a sleep {common.spread(sleeps, ' ms', 2)}")
    found = statistics.median(stretches)
    claimed = f"interpreter held by a look at {REQUESTS} requests"
    common.finish([common.verdict(found <= BAR, claimed, f"{found:.2f} ms", f"{BAR} ms")])


async def loaded(rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Return stretches and gaps of looks while so many requests wait, in ms."""
    loop = asyncio.get_running_loop()
    gate = loop.create_future()

    async def deep(n: int) -> None:
        await (deep(n - 1) if n else gate)

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await deep(DEEP)

    async def nothing(*_: object) -> None:
        """Stand for a server's receive and send."""

    counted = asgi.counting(app, AttachedSlot(), app)
    scope = {"type": "http", "method": "GET", "path": "/slow"}
    tasks = [asyncio.ensure_future(counted(scope, nothing, nothing)) for _ in range(REQUESTS)]
    await asyncio.sleep(0.1)
    found = await asyncio.to_thread(measure, OfTasks(lambda: loop), rounds)
    gate.set_result(None)
    await asyncio.gather(*tasks)
    return found


def measure(finder: OfTasks, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Return the longest stretches and gaps of looks, and the gaps of sleeps."""
    looking = Looker(attached, finder, lambda text: None)
    stretches = Stretches()
    looking._sleep = finder._sleep = stretches.sleep
    alone = [stretches.of(looking.look) for _ in range(rounds)]
    gaps, looks, sleeps = Gaps(), [], []
    try:
        for _ in range(rounds):
            looks.append(gaps.during(looking.look))
            sleeps.append(gaps.during(lambda: time.sleep(0.1)))
    finally:
        gaps.stop()
    return alone, looks, sleeps


class Stretches:
    """The processor time of this thread between its pauses."""

    def __init__(self) -> None:
        self._longest = self._since = 0.0

    def sleep(self, seconds: float) -> None:
        """Pause."""
        self._longest = max(self._longest, time.thread_time() - self._since)
        time.sleep(seconds)
        self._since = time.thread_time()

    def of(self, what: Callable[[], object]) -> float:
        """Return the longest while something is done, in ms."""
        self._longest, self._since = 0.0, time.thread_time()
        what()
        self.sleep(0)
        return self._longest * 1000


class Gaps:
    """A thread that reads the clock, and the longest time in which it could not."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        last = time.perf_counter()
        while not self._over:
            now = time.perf_counter()
            if now - last > self._longest:
                self._longest = now - last
            last = now

    def during(self, what: Callable[[], object]) -> float:
        """Return it, in ms, while something is done."""
        time.sleep(0.01)
        self._longest = 0.0
        what()
        time.sleep(0.001)
        return self._longest * 1000

    def stop(self) -> None:
        """End the thread."""
        self._over = True
        self._thread.join()


if __name__ == "__main__":
    sys.exit(main())
