"""Private memory of a worker, with us and without.

Bar: less than without us, once its garbage has been collected. Private is Private_Clean +
Private_Dirty of smaps_rollup (see proc_pid_smaps_rollup(5)): what a worker has for itself, after
1,000 requests and some reads of each status URL. Taken twice: as it is then, and after a full
garbage collection in each worker, which writes to every page that holds objects and so parts it
from the arbiter's. Ours are frozen there (see `sharing`). Every long-lived worker comes to its
first full collection, so the bar is for the second.
"""

import re
import statistics
import time
from pathlib import Path

import common

WORKERS = 2
REQUESTS = 1000
READS = 40
MOST_TRIES = 1000
"""Requests, one after the other, until each worker has had one."""


def main() -> None:
    rounds = 1 if common.arguments(__doc__).quick else 3
    found: dict[str, dict[str, list[float]]] = {"served": {}, "collected": {}}
    for _ in range(rounds):
        with common.servers("collect", WORKERS) as started:
            for name, server in started.items():
                serve(server)
                found["served"].setdefault(name, []).extend(private(server))
                collect(server)
                found["collected"].setdefault(name, []).extend(private(server))
    more = {when: report(when, workers) for when, workers in found.items()}["collected"]
    figure = f"{more:+.2f} MiB"
    common.finish([common.verdict(more < 0, "memory, collected", figure, "under 0 MiB")])


def serve(server: common.Gunicorn) -> None:
    """Send a server its requests, and read its status here and there if it has one."""
    for i in range(REQUESTS):
        server.get("/")
        if server.ours and i % (REQUESTS // READS) == 0:
            server.status()
            server.status(".json")
            server.status(".prom")
            time.sleep(0.005)  # the other worker's turn


def collect(server: common.Gunicorn) -> None:
    """Have each worker collect its garbage."""
    collected: set[int] = set()
    for _ in range(MOST_TRIES):
        collected.add(int(server.get("/gc")))
        if collected >= set(server.workers()):
            return
    raise RuntimeError(f"of workers {server.workers()} only {collected} were reached")


def private(server: common.Gunicorn) -> list[float]:
    """Return the private memory of each worker in MiB."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in server.workers()]
    assert len(rollups) == WORKERS
    fields = [re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", text, re.M) for text in rollups]
    return [sum(map(int, each)) / 1024 for each in fields]


def report(when: str, workers: dict[str, list[float]]) -> float:
    """Print the figures; return how many MiB more a worker has with us."""
    print(f"private memory of a worker, {when}, {len(workers['ours'])} workers a side:")
    for name, values in workers.items():
        print(f"  {name:5} {common.spread(values, ' MiB', 2)}")
    middle = {name: statistics.median(values) for name, values in workers.items()}
    more = middle["ours"] - middle["bare"]
    print(f"  A/A: {middle['same'] - middle['bare']:+.2f} MiB")
    print(f"  with us: {more:+.2f} MiB")
    return more


if __name__ == "__main__":
    main()
