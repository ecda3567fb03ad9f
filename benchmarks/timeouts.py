"""What the log says of a worker that gunicorn's timeout kills, and when that worker is gone.

Bars: the request's stack is in the log in each of 20 runs; the worker is gone at most 50 ms later
than without us, counted from the line in which the arbiter tells of the timeout. sync sleeps, so
that its signal handler runs. gevent's and gthread's request keeps the interpreter, so that no
handler runs, and the worker ends by SIGKILL.

Other gunicorns: --python PATH, of an interpreter that has one and this package, and if it is to be
tried gevent.
"""

import argparse
import contextlib
import http.client
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import common

CLASSES = {"sync": "/sleep", "gthread": "/stick", "gevent": "/stick"}
TIMEOUT = "3"
BAR = 50.0  # ms


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 runs of each in place of 20")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with a gunicorn")
    given = parser.parse_args()
    runs = 3 if given.quick else 20
    print(subprocess.check_output([given.python, "-m", "gunicorn", "--version"], text=True).strip())
    verdicts = []
    for kind, path in CLASSES.items():
        pairs = [
            (end(given.python, kind, path, ours=True), end(given.python, kind, path, ours=False))
            for _ in range(runs)
        ]
        stacks = sum(has_stack for (_, has_stack), _ in pairs)
        late = [ours - bare for (ours, _), (bare, _) in pairs]
        verdicts.append(common.verdict(stacks == runs, f"{kind}: stacks", f"{stacks}", f"{runs}"))
        print(f"  {kind}: gone later by {common.spread(late, ' ms', 0)}")
        later = statistics.median(late)
        verdicts.append(common.verdict(later <= BAR, f"{kind}: gone", f"{later:.0f} ms", "50 ms"))
    common.finish(verdicts)


def end(python: str, kind: str, path: str, *, ours: bool) -> tuple[float, bool]:
    """Let a worker time out. Return how many ms after that it is gone, and whether the log then has
    the request's stack, in one record."""
    options = ("--worker-class", kind, "--threads", "2", "--timeout", TIMEOUT)
    if kind != "gthread":
        options = ("--worker-class", kind, "--timeout", TIMEOUT)
    server = common.Gunicorn("stuck", 1, *options, ours=ours, python=python)
    try:
        (pid,) = server.workers()
        client = threading.Thread(target=ask, args=(server, path))
        client.start()
        wait(lambda: "WORKER TIMEOUT" in server.log())
        began = time.perf_counter()
        wait(lambda: not Path(f"/proc/{pid}").exists())
        took = (time.perf_counter() - began) * 1000
        wait(lambda: server.log().count("Booting worker") == 2)
        client.join()
        lines = server.log().splitlines()
        told = [i for i, line in enumerate(lines) if "killed by the timeout in" in line]
        return took, len(told) == 1 and any(
            "apps.py" in line and "in stuck" in line for line in lines[told[0] + 2 :][:3]
        )
    finally:
        server.stop()


def ask(server: common.Gunicorn, path: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        server.get(path)


def wait(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.perf_counter() + 60
    while not is_so():
        if time.perf_counter() > until:
            raise RuntimeError("not within a minute")
        time.sleep(0.0005)


if __name__ == "__main__":
    main()
