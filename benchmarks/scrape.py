"""One scrape: what it costs to tell Prometheus everything, after workers have come and gone.

Bar: ours costs the same after 10, 100 and 1,000 restarts of workers, and less than the multiprocess
mode of prometheus_client after 10.

Four workers at a time count requests, and are killed. Each counts twice: in a slot of our
scoreboard, and with prometheus_client's metrics of the same names. As a `child_exit` hook would,
the parent frees the slot, and calls `mark_process_dead`, which takes gauges away; the files of
counters and histograms stay, as they must, or totals would go back. Then both make their answer,
alternating.
"""

import gc
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import common

RESTARTS = (10, 100, 1000)
WORKERS = 4
REQUESTS = 20
GROWTH = 1.25
"""How much dearer our scrape may seem after 1,000 restarts than after 10: the machine's noise."""


def main() -> None:
    rounds = 20 if common.arguments(__doc__).quick else 100
    with tempfile.TemporaryDirectory() as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # read at the import
        common.finish(compare(rounds, Both()))


class Both:
    """A server's figures, kept in both ways."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        from gunicorn_raindrops.sampler import Sampler
        from gunicorn_raindrops.scoreboard.board import Scoreboard
        from gunicorn_raindrops.snapshot import Arbiter

        self._board = Scoreboard(64)
        self._listener = socket.create_server(("127.0.0.1", 0))
        arbiter = Arbiter(os.getpid(), "", "", "sync", time.monotonic())
        self._sampler = Sampler(self._board, arbiter, [self._listener], (), print)
        self._requests = Counter("gunicorn_requests", "Requests.")
        self._responses = Counter("gunicorn_responses", "Responses.", ["code"])
        self._seconds = Histogram("gunicorn_request_duration_seconds", "Durations.")
        name = "gunicorn_requests_in_flight"
        self._in_flight = Gauge(name, "In flight.", multiprocess_mode="livesum")
        self.restarts = 0

    def restart(self) -> None:
        """Have workers count, and kill them."""
        from prometheus_client.multiprocess import mark_process_dead

        for pid, claim in [self._worker() for _ in range(WORKERS)]:
            os.waitpid(pid, 0)
            self._board.release(claim)
            mark_process_dead(pid)
            self.restarts += 1

    def _worker(self) -> tuple[int, object]:
        from gunicorn_raindrops.counting import attached

        claim = self._board.claim()
        assert claim is not None
        pid = os.fork()
        if pid == 0:
            if attached.take_over(self._board, claim, 1, 1):
                for _ in range(REQUESTS):
                    self._count()
            os.kill(os.getpid(), signal.SIGKILL)
        return pid, claim

    def _count(self) -> None:
        from gunicorn_raindrops.counting import request

        request.begin("GET", "/", -1)
        request.respond()
        request.END["2"]()
        with self._in_flight.track_inprogress(), self._seconds.time():
            self._responses.labels("2xx").inc()
        self._requests.inc()

    def ours(self) -> bytes:
        """Return our answer."""
        from gunicorn_raindrops.exporters import prometheus

        return prometheus.encode(self._sampler.take(), None)[0]

    def theirs(self) -> bytes:
        """Return prometheus_client's."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)

    def check(self) -> None:
        """See that both have counted all."""
        total = f"gunicorn_requests_total {float(self.restarts * REQUESTS)}\n".encode()
        assert total in self.ours(), self.ours()
        assert total in self.theirs(), self.theirs()


def compare(rounds: int, both: Both) -> list[bool]:
    """Print the figures after each number of restarts; return the verdicts."""
    middle: dict[int, tuple[float, float]] = {}
    for restarts in RESTARTS:
        while both.restarts < restarts:
            both.restart()
        both.check()
        sides = {"ours": timed(both.ours), "multiprocess": timed(both.theirs)}
        common.alternate(3, **sides)  # warm
        found = common.alternate(max(5, rounds * 10 // restarts), **sides)
        print(f"a scrape after {both.restarts} restarts, {len(found['ours'])} each:")
        for name, values in found.items():
            print(f"  {name:13} {common.spread(values, ' ms')}")
        ratios = common.ratios(found["ours"], found["multiprocess"])
        print(f"  ours / theirs {common.spread(ratios)}")
        middle[restarts] = statistics.median(found["ours"]), statistics.median(ratios)
    return verdicts(middle)


def timed(scrape: Callable[[], bytes]) -> Callable[[], float]:
    """Return what makes an answer and returns how many milliseconds of processor time that took:
    its second one in a row, since the other side has just had the processor's caches for itself.
    (The kernel's count of connections serves all readers for a moment, so it is in the first. The
    other side has no such figure.)"""

    def measure() -> float:
        gc.collect()
        gc.disable()
        scrape()
        began = time.thread_time()
        scrape()
        took = time.thread_time() - began
        gc.enable()
        return took * 1e3

    return measure


def verdicts(middle: dict[int, tuple[float, float]]) -> list[bool]:
    """Return whether the claims hold; `middle` has medians: our milliseconds, and the ratio."""
    few, many = RESTARTS[0], RESTARTS[-1]
    growth, ratio = middle[many][0] / middle[few][0], middle[few][1]
    figure = f"{growth:.2f} times after {many} restarts"
    return [
        common.verdict(growth < GROWTH, "a scrape stays as it was", figure, f"under {GROWTH}"),
        common.verdict(
            ratio < 1, "and is under the multiprocess mode's least", f"{ratio:.2f}", "1"
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
