"""Recording one duration, and reading what was recorded.

Beside `Histogram.record`: `observe` of prometheus_client's multiprocess histogram, which is the
usual way to have one in several processes, and a histogram of plain Python (bisect and a list),
which is in one process only and loses counts among threads. Each has as many durations to go
through, log-normal round 20 ms. The empty loop is subtracted on every side.

Bars: at least five times as fast as prometheus_client's, no slower than plain Python.
"""

import bisect
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import common

from gunicorn_raindrops import Histogram

COUNT = 10_000
SLOW_COUNT = 2_000
TIMES = 5.0
BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
"""prometheus_client's own default buckets, for plain Python too."""

_RANDOM = random.Random(5)
DURATIONS = [_RANDOM.lognormvariate(-3.9, 1.0) for _ in range(COUNT)]


class Plain:
    """What one would write by hand."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def record(self, seconds: float) -> None:
        self.buckets[bisect.bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


def nothing(_: Any, durations: list[float]) -> None:
    for _seconds in durations:
        pass


def record(histogram: Any, durations: list[float]) -> None:
    for seconds in durations:
        histogram.record(seconds)


def observe(histogram: Any, durations: list[float]) -> None:
    for seconds in durations:
        histogram.observe(seconds)


def read(histogram: Histogram, durations: list[float]) -> None:
    for _seconds in durations:
        histogram.as_dict()


def prometheus(directory: str) -> Any:
    """Return a histogram of prometheus_client's that keeps its values in a file; None without."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # read when it is imported
    try:
        import prometheus_client
    except ImportError:
        common.skipped("prometheus_client's histogram", "prometheus_client")
        return None
    return prometheus_client.Histogram("took", "Took", registry=None, buckets=BOUNDS)


def timed(
    loop: Callable[[Any, list[float]], None], subject: Any, count: int
) -> Callable[[], float]:
    """Return what measures the nanoseconds of one turn of a loop."""
    durations = DURATIONS[:count]

    def measure() -> float:
        began = time.perf_counter_ns()
        loop(subject, durations)
        return (time.perf_counter_ns() - began) / count

    return measure


def main() -> None:
    rounds = 40 if common.arguments(__doc__).quick else 200
    histogram, same, full = Histogram(), Histogram(), Histogram()
    record(full, DURATIONS)
    sides = {
        "empty": timed(nothing, None, COUNT),
        "record": timed(record, histogram, COUNT),
        "same": timed(record, same, COUNT),
        "plain": timed(record, Plain(), COUNT),
        "read": timed(read, full, 20),
    }
    with tempfile.TemporaryDirectory() as directory:
        peer = prometheus(directory)
        if peer is not None:
            sides["prometheus"] = timed(observe, peer, SLOW_COUNT)
        found = common.alternate(rounds, **sides)
    assert histogram.count == same.count == rounds * COUNT
    common.finish(report(found))


NAMES = {
    "empty": "the empty loop",
    "record": "Histogram.record",
    "same": "the same again (A/A)",
    "plain": "plain Python, bisect",
    "prometheus": "prometheus_client Histogram.observe",
    "read": "Histogram.as_dict (reading)",
}


def report(found: dict[str, list[float]]) -> list[bool]:
    """Print the figures; return the verdicts."""
    print(f"one duration, {len(found['record'])} rounds, nanoseconds a turn; net of the empty loop")
    net = {name: common.differences(values, found["empty"]) for name, values in found.items()}
    for name, label in NAMES.items():
        if name in found:
            whole, alone = common.spread(found[name], "", 1), statistics.median(net[name])
            print(f"  {label:36} {whole:32} net {alone:9.1f}")
    same = common.ratios(net["same"], net["record"])
    print(f"  A/A of record: ratio {common.spread(same)}, floor ±{common.floor(same):.1%}")
    verdicts = [verdict(net, "plain", 1.0, "no slower")]
    if "prometheus" in net:
        verdicts.append(verdict(net, "prometheus", TIMES, f"at least {TIMES:g} times"))
    return verdicts


def verdict(net: dict[str, list[float]], peer: str, times: float, bar: str) -> bool:
    """Print how many times as fast as a peer's ours is."""
    each = common.ratios(net[peer], net["record"])
    figure = f"{common.spread(each, '', 2)} times as fast"
    claim = f"Histogram.record against {NAMES[peer]}"
    return common.verdict(statistics.median(each) >= times, claim, figure, bar)


if __name__ == "__main__":
    main()
