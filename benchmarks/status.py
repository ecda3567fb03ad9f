"""`gunicorn-raindrops status --pid` when no worker can answer, from its start to its end.

Bar: 300 ms, for nine of ten. All workers are in one C call that holds the interpreter, and every
answer has to count them all as calling; then the same with the arbiter stopped (SIGSTOP).

Most of it is Python's start and its imports, so the start alone is shown beside it. The modules are
compiled once, before, as an installation does it.
"""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import common

WORKERS = 4
BAR = 300.0  # ms


def main() -> None:
    rounds = 20 if common.arguments(__doc__).quick else 100
    server = common.Gunicorn("stick", WORKERS, "--timeout", "0", ours=True)
    compiled = tempfile.TemporaryDirectory()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = compiled.name
    try:
        stick(server)
        found = {"all workers stuck": measure(server, rounds)}
        os.kill(server.pid, signal.SIGSTOP)
        found["the arbiter stopped, too"] = measure(server, rounds)
    finally:
        server.kill()
        compiled.cleanup()
    print(f"  python -c pass: {common.spread(start(rounds), ' ms', 0)}")
    common.finish([report(claim, times) for claim, times in found.items()])


def stick(server: common.Gunicorn) -> None:
    """Have every worker in a request that holds the interpreter."""

    def ask() -> None:
        with contextlib.suppress(OSError):
            server.get("/stick")

    until = time.monotonic() + common.WAIT
    while calling(server) < WORKERS:
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(0.1)
        if time.monotonic() > until:
            raise RuntimeError("not all workers are stuck")


def command(server: common.Gunicorn) -> list[str]:
    return [sys.executable, "-m", "gunicorn_raindrops", "status", "--pid", str(server.pid)]


def calling(server: common.Gunicorn) -> int:
    """Return how many requests run, by the command."""
    done = subprocess.run([*command(server), "--json"], capture_output=True, check=True)
    return int(json.loads(done.stdout)["calling"])


def measure(server: common.Gunicorn, rounds: int) -> list[float]:
    """Return how many milliseconds the command took, each time."""

    def ask() -> None:
        done = subprocess.run(command(server), capture_output=True, check=True)
        assert done.stdout.startswith(b"calling: %d\n" % WORKERS), done.stdout

    return [timed(ask) for _ in range(rounds)]


def start(rounds: int) -> list[float]:
    """Return how many milliseconds Python takes to do nothing."""
    nothing = [sys.executable, "-c", "pass"]
    return [timed(lambda: subprocess.run(nothing, check=True)) for _ in range(rounds)]


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return (time.perf_counter() - began) * 1000


def report(claim: str, times: list[float]) -> bool:
    print(f"  {claim}: {common.spread(times, ' ms', 0)}, at most {max(times):.0f} ms")
    most = statistics.quantiles(times, n=10, method="inclusive")[-1]
    return common.verdict(most < BAR, f"status --pid, {claim}", f"{most:.0f} ms", f"{BAR:.0f} ms")


if __name__ == "__main__":
    main()
