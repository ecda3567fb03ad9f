"""One update of a shared counter, in a plain while loop.

Bars: `Raindrops.incr` at least five times as fast as `multiprocessing.Value` with its lock, and
as prometheus_client's multiprocess counter, the empty loop subtracted; loops included, at most 2.5
times as long as Ruby raindrops' `incr`, and `Struct`'s `incr_calling()` at most 1.4 times.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import common

from gunicorn_raindrops import Raindrops, Struct

COUNT = 20_000
SLOW_COUNT = 4_000
TIMES = 5.0
RUBY_TIMES = {"incr": 2.5, "struct": 1.4}


class Stats(Struct):
    calling: int
    writing: int


def empty(_: Any, count: int) -> None:
    i = 0
    while i < count:
        i += 1


def incr(rd: Raindrops, count: int) -> None:
    i = 0
    while i < count:
        rd.incr(1)
        i += 1


def struct(stats: Stats, count: int) -> None:
    i = 0
    while i < count:
        stats.incr_calling()
        i += 1


def locked(value: Any, count: int) -> None:
    i = 0
    while i < count:
        with value.get_lock():
            value.value += 1
        i += 1


def inc(counter: Any, count: int) -> None:
    i = 0
    while i < count:
        counter.inc()
        i += 1


def prometheus(directory: str) -> Any:
    """Return a counter of prometheus_client's that keeps its value in a file; None without it."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory  # read when it is imported
    try:
        import prometheus_client
    except ImportError:
        common.skipped("prometheus_client's counter", "prometheus_client")
        return None
    return prometheus_client.Counter("updates", "Updates", registry=None)


def timed(loop: Callable[[Any, int], None], subject: Any, count: int) -> Callable[[], float]:
    """Return what measures the nanoseconds of one turn of a loop."""

    def measure() -> float:
        began = time.perf_counter_ns()
        loop(subject, count)
        return (time.perf_counter_ns() - began) / count

    return measure


def main() -> None:
    rounds = 40 if common.arguments(__doc__).quick else 200
    drops, stats = Raindrops(2), Stats()
    sides = {
        "empty": timed(empty, None, COUNT),
        "incr": timed(incr, drops, COUNT),
        "same": timed(incr, drops, COUNT),
        "struct": timed(struct, stats, COUNT),
        "value": timed(locked, multiprocessing.Value("L", 0), SLOW_COUNT),
    }
    with tempfile.TemporaryDirectory() as directory, common.ruby("counters.rb", "raindrops") as rb:
        counter = prometheus(directory)
        if counter is not None:
            sides["prometheus"] = timed(inc, counter, SLOW_COUNT)
        if rb is not None:
            for name in ("empty", "incr", "struct"):
                sides[f"ruby {name}"] = lambda n=name: rb.ask(n, COUNT)
        found = common.alternate(rounds, **sides)
    assert drops[1] == 2 * rounds * COUNT
    assert stats.calling == rounds * COUNT
    common.finish(report(found))


NAMES = {
    "empty": "the empty loop",
    "incr": "Raindrops.incr(1)",
    "same": "the same again (A/A)",
    "struct": "Struct: incr_calling()",
    "value": "multiprocessing.Value, locked += 1",
    "prometheus": "prometheus_client Counter.inc()",
    "ruby empty": "Ruby: the empty loop",
    "ruby incr": "Ruby: Raindrops#incr(1)",
    "ruby struct": "Ruby: Struct#incr_calling",
}


def report(found: dict[str, list[float]]) -> list[bool]:
    """Print the figures; return the verdicts."""
    print(f"one update, {len(found['incr'])} rounds, nanoseconds a turn; net of the empty loop")
    net = {name: common.differences(found[name], found[loop_of(name)]) for name in found}
    for name, label in NAMES.items():
        if name in found:
            least = min(found[name]) - min(found[loop_of(name)])
            whole, alone = common.spread(found[name], "", 1), statistics.median(net[name])
            print(f"  {label:35} {whole:26} net {alone:7.1f}, of the minima {least:7.1f}")
    same = common.ratios(net["same"], net["incr"])
    print(f"  A/A of Raindrops.incr: ratio {common.spread(same)}, floor ±{common.floor(same):.1%}")
    bar = f"at least {TIMES:g} times"
    verdicts = [
        at_least(net[peer], net["incr"], TIMES, f"Raindrops.incr against {NAMES[peer]}", bar)
        for peer in ("value", "prometheus")
        if peer in net
    ]
    verdicts += [
        at_most(found[name], found[f"ruby {name}"], times, f"{NAMES[name]} against Ruby's")
        for name, times in RUBY_TIMES.items()
        if f"ruby {name}" in found
    ]
    return verdicts


def loop_of(name: str) -> str:
    """Return whose empty loop is in a figure."""
    return "ruby empty" if name.startswith("ruby") else "empty"


def at_least(theirs: list[float], ours: list[float], times: float, claim: str, bar: str) -> bool:
    """Print a verdict on how many times faster than theirs ours is."""
    each = common.ratios(theirs, ours)
    figure = f"{common.spread(each, '', 2)} times as fast"
    return common.verdict(statistics.median(each) >= times, claim, figure, bar)


def at_most(ours: list[float], theirs: list[float], times: float, claim: str) -> bool:
    """Print a verdict on how many times as long as theirs ours takes, loops included."""
    each = common.ratios(ours, theirs)
    figure = f"{common.spread(each, '', 2)} times as long"
    return common.verdict(statistics.median(each) <= times, claim, figure, f"at most {times:g}")


if __name__ == "__main__":
    main()
