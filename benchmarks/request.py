"""What we add to a request: its two hooks and the wrapper around the application.

Bar: under 3 µs. Measured in one process (see driver.py): gunicorn's `handle` of a parsed request
with us minus without, batch against batch. Without us gunicorn's own pre_request hook writes a
debug log line that goes nowhere; ours replaces it, so the difference to hooks that do nothing is
printed as well, and it is this larger one that the bar is for.

Beside it Ruby raindrops' middleware, measured in the same way: unicorn's `process_client` in one
process, and a bare Rack call with its body read and closed, each with the middleware minus
without. (On a unicorn under load, as CPU time of a request, it was measured to add 3.2 µs.)
"""

import statistics

import common
from driver import Driver

MICRO = 1e6
BAR = 3.0
RUBY_ON_UNICORN = 3.2
RUBY_COUNTS = {"unicorn": 50, "unicorn_drops": 50, "rack": 500, "rack_drops": 500}


def main() -> None:
    quick = common.arguments(__doc__).quick
    drivers = {name: Driver(kind) for name, kind in KINDS.items()}
    sides = {name: lambda d=d: d.batch() * MICRO for name, d in drivers.items()}
    with common.ruby("request.rb", "unicorn") as peer:
        if peer is not None:
            for name, count in RUBY_COUNTS.items():
                sides[name] = lambda n=name, c=count: peer.ask(n, c) / 1e3
        common.alternate(20, **sides)  # warm
        found = common.alternate(300 if quick else 2000, **sides)
    drivers["ours"].check()
    common.finish(report(found))


KINDS = {"bare": "bare", "same": "bare", "empty": "empty", "ours": "ours"}


def report(found: dict[str, list[float]]) -> list[bool]:
    """Print the figures, in microseconds; return the verdicts."""
    print(f"one request in a SyncWorker's handle, {len(found['ours'])} batches a side, µs")
    for name in KINDS:
        print(f"  {name:6} {common.spread(found[name])}, min {min(found[name]):.3f}")
    added(found, "same", "bare", "A/A")
    added(found, "ours", "bare", "with us, against gunicorn's own hooks")
    figure = added(found, "ours", "empty", "with us, against empty hooks")
    verdicts = [
        common.verdict(figure < BAR, "added to a request", f"{figure:.2f} µs", f"{BAR:g} µs")
    ]
    if "unicorn" in found:
        unicorn = added(found, "unicorn_drops", "unicorn", "Ruby raindrops' middleware on unicorn")
        rack = added(found, "rack_drops", "rack", "Ruby raindrops' middleware, the Rack call alone")
        figures = f"{figure:.2f} µs; Ruby in process {unicorn:.2f} on unicorn, {rack:.2f} alone"
        passed, bar = figure < RUBY_ON_UNICORN, f"under Ruby's {RUBY_ON_UNICORN} µs under load"
        verdicts.append(common.verdict(passed, "no dearer than Ruby raindrops", figures, bar))
    return verdicts


def added(found: dict[str, list[float]], more: str, less: str, what: str) -> float:
    """Print what one side takes more than the other; return the median difference."""
    each = common.differences(found[more], found[less])
    least = min(found[more]) - min(found[less])
    print(f"  {what}: {common.spread(each)}, of the minima {least:.3f}")
    return statistics.median(each)


if __name__ == "__main__":
    main()
