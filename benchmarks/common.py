"""What the benchmarks share: pairs and their medians, verdicts, peers, and gunicorns on port 0.

On a shared machine one figure says little: the clock speed and the neighbours change under it. So
everything here measures the two sides one right after the other, again and again, and believes
the median of the ratios (or differences) of these pairs. Beside it stands the noise floor: the
same with the same thing on both sides (A/A).
"""

import argparse
import contextlib
import http.client
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
WAIT = 20.0
"""Seconds within which a server starts, answers and stops."""

CONNECTIONS = 8
"""Of wrk: always some of them waiting, and never so many that it costs the kernel time."""

RAINDROPS = ["-c", "python:gunicorn_raindrops.conf"]


def arguments(description: str | None) -> argparse.Namespace:
    """Return the command line of a benchmark."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a rougher figure")
    return parser.parse_args()


# Figures.


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return lower quartile, median, upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def spread(values: list[float], unit: str = "", digits: int = 3) -> str:
    """Write values as their median with the quartiles around it."""
    low, middle, high = quartiles(values)
    return f"{middle:.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f})"


def ratios(above: list[float], below: list[float]) -> list[float]:
    """Return the ratio of each pair."""
    return [a / b for a, b in zip(above, below, strict=True)]


def differences(more: list[float], less: list[float]) -> list[float]:
    """Return the difference of each pair."""
    return [a - b for a, b in zip(more, less, strict=True)]


def floor(same: list[float]) -> float:
    """Return the noise floor: how far from 1 the median of so many A/A ratios can come to lie.

    Drawn with replacement from the ratios and their inverses (which side was called A is
    chance), 99 of 100 medians are no farther off.
    """
    pool = same + [1 / ratio for ratio in same]
    draws = [statistics.median(random.choices(pool, k=len(same))) for _ in range(1000)]
    return sorted(abs(draw - 1) for draw in draws)[989]


def alternate(rounds: int, **sides: Callable[[], float]) -> dict[str, list[float]]:
    """Measure all sides once a round, in an order drawn anew each time."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            found[name].append(sides[name]())
    return found


# Verdicts.


def verdict(passed: bool, claim: str, figure: str, bar: str) -> bool:
    """Print the line that ends a claim."""
    print(f"{'PASS' if passed else 'FAIL'} {claim}: {figure} (bar: {bar})", flush=True)
    return passed


def skipped(part: str, missing: str) -> None:
    """Say that a peer is not there, and what is left out for it."""
    print(f"SKIP {part}: {missing} is not installed", flush=True)


def finish(verdicts: list[bool]) -> None:
    """End a benchmark: status 1 when a claim failed."""
    sys.exit(0 if all(verdicts) else 1)


# Peers.


class Ruby:
    """A Ruby script that measures what it is asked for: `NAME COUNT` in, nanoseconds out."""

    def __init__(self, script: str) -> None:
        self._process = subprocess.Popen(
            ["ruby", HERE / script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, name: str, count: int) -> float:
        """Return the nanoseconds that each of `count` iterations took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(name, count, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the script."""
        self._process.communicate()


@contextlib.contextmanager
def ruby(script: str, needs: str) -> Iterator[Ruby | None]:
    """Start a Ruby peer; None, and a line that says so, where Ruby or what it needs is missing."""
    there = shutil.which("ruby") is not None
    there = there and not subprocess.run(["ruby", "-r", needs, "-e", ""], stderr=-3).returncode
    if not there:
        skipped("the comparison with Ruby", f"ruby with {needs}")
        yield None
        return
    peer = Ruby(script)
    try:
        yield peer
    finally:
        peer.close()


# Servers.


class Gunicorn:
    """A gunicorn on a free port of the loopback, with or without us.

    Args:
        app: an application of `benchmarks/apps.py`.
        workers: how many.
        options: more of gunicorn's command line.
        ours: with the shipped config, its status on a free port too.
        python: the interpreter that has the gunicorn.
    """

    def __init__(
        self,
        app: str,
        workers: int,
        *options: str,
        ours: bool = False,
        python: str = sys.executable,
    ) -> None:
        command = [python, "-m", "gunicorn", *(RAINDROPS if ours else []), *options]
        command += ["--workers", str(workers), "--bind", "127.0.0.1:0"]
        command += ["--chdir", str(HERE), f"apps:{app}"]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("RAINDROPS_")}
        self.ours = ours
        self._log = tempfile.NamedTemporaryFile("a")  # noqa: SIM115  # closed in stop()
        self._process = subprocess.Popen(
            command, stderr=self._log, env={**environ, "RAINDROPS_BIND": "127.0.0.1:0"}
        )
        self.port = self._logged(r"Listening at: http://127\.0\.0\.1:(\d+)")
        self.status_port = self._logged(r"status at http://127\.0\.0\.1:(\d+)") if ours else 0
        self._logged(r"Booting worker with pid: (\d+)", workers)
        self.get("/")

    def _logged(self, pattern: str, times: int = 1) -> int:
        """Wait until the log has a line so many times; return the number that is in its last."""
        until = time.monotonic() + WAIT
        while time.monotonic() < until and self._process.poll() is None:
            if len(found := re.findall(pattern, self.log())) >= times:
                return int(found[-1])
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"gunicorn did not start:\n{self.last_log}")

    @property
    def pid(self) -> int:
        """The arbiter's pid."""
        return self._process.pid

    def log(self) -> str:
        """Return what the server has logged so far."""
        return Path(self._log.name).read_text()

    def workers(self) -> list[int]:
        """Return the pids of the workers."""
        return [int(child) for child in _read(f"/proc/{self.pid}/task/{self.pid}/children").split()]

    def get(self, path: str, port: int | None = None) -> bytes:
        """Return the body of an answer to GET."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=WAIT)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def status(self, ending: str = "") -> bytes:
        """Return what our status address says."""
        return self.get(f"/_raindrops{ending}", self.status_port)

    def stop(self) -> None:
        """Stop the server, whose workers follow it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.last_log = self.log()
        self._log.close()

    def kill(self) -> None:
        """End the server at once, also one that is stopped, and workers that are stuck."""
        for pid in (self.pid, *self.workers()):
            os.kill(pid, signal.SIGKILL)
        self.stop()


def _read(path: str) -> str:
    return Path(path).read_text()


@contextlib.contextmanager
def servers(app: str, workers: int, *options: str) -> Iterator[dict[str, Gunicorn]]:
    """Start the three servers of a comparison: bare, the same once more (A/A), and with us."""
    started: dict[str, Gunicorn] = {}
    try:
        for name in random.sample(["bare", "same", "ours"], 3):
            started[name] = Gunicorn(app, workers, *options, ours=name == "ours")
        yield started
    finally:
        for server in started.values():
            server.stop()


def rate(server: Gunicorn, seconds: int) -> float:
    """Return the requests a second that a server answers to wrk, keepalive where it has that."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s"]
    command.append(f"http://127.0.0.1:{server.port}/")
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)
    if "Non-2xx" in done.stdout:
        raise RuntimeError(f"not every answer was a 200:\n{done.stdout}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def rates(
    app: str, workers: int, *options: str, blocks: int, pairs: int, seconds: int
) -> dict[str, list[float]]:
    """Return requests a second, in pairs, of the three servers.

    They are started anew for each block: one process can be a few per cent faster than its twin
    for as long as both live, for where its memory happens to lie.
    """
    found: dict[str, list[float]] = {"bare": [], "same": [], "ours": []}
    for _ in range(blocks):
        with servers(app, workers, *options) as started:
            for server in started.values():
                rate(server, 1)  # warm
            block = alternate(
                pairs,
                **{name: lambda s=server: rate(s, seconds) for name, server in started.items()},
            )
        for name, values in block.items():
            found[name] += values
    return found


def print_rates(found: dict[str, list[float]]) -> tuple[float, float]:
    """Print requests a second; return the median ratio with us to without, and the floor."""
    for name, values in found.items():
        print(f"  {name:5} {spread(values, ' requests/s', 0)}")
    return print_ratios(ratios(found["ours"], found["bare"]), ratios(found["same"], found["bare"]))


def print_ratios(ours: list[float], same: list[float]) -> tuple[float, float]:
    """Print ratios of throughput, with us to without and A/A; return the median and the floor."""
    noise = floor(same)
    print(f"  ratio with us / without  {spread(ours)}  of {len(ours)} pairs")
    print(f"  ratio A/A                {spread(same)}  floor of the median ±{noise:.1%}")
    return statistics.median(ours), noise
