"""Run what shows that a server counts over gunicorns, Pythons and worker classes; print one table.

Usage: python -m tests.matrix [--python 3.11 ...] [--gunicorn 23 ...] [--worker-class sync ...]
Without arguments all there is: the supported Pythons of pyenv's, the last release of each gunicorn
that is supported, the worker classes of the tests. A cell of the table says pass, FAIL (the output
is kept, and named below), or a number that refers to a reason why there is nothing to run. With
--go-on a cell that passed in a former run is not run again.
"""

import argparse
import itertools
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .integration.classes import CLASSES
from .wheels import ROOT, Version, environment, pytest, pythons, wheel_and_tests

GUNICORNS = ["20.1.0", "21.2.0", "22.0.0", "23.0.0", "24.1.1", "25.3.0", "26.2.0", "27.0.1"]
KEPT = ".venv-matrix"
AT_ONCE = 3  # they mostly wait
COUNTING = "test_counting or test_exact"
LIFE = "test_life and (test_reload or test_max_requests or test_upgrade_twice)"
LIVING = ("sync", "gthread")
FILES = [f"tests/integration/test_{name}.py" for name in ("counting", "exact", "life")]
# What worker classes need beside gunicorn.
PACKAGES = ["gevent", "eventlet", "tornado", "uvicorn", "uvicorn-worker", "websockets"]
# From which gunicorn on, and before which, a worker class can be tried, and why.
SINCE = {
    "asgi": ((24, 1), "asgi came with gunicorn 24.1"),
    "eventlet": ((21,), "gunicorn 20.1 needs eventlet < 0.30.3, which needs Python < 3.10"),
}
UNTIL = {"eventlet": ((26,), "eventlet went with gunicorn 26")}


@dataclass(frozen=True)
class Cell:
    """One Python, one gunicorn, one worker class."""

    python: Version
    gunicorn: str
    worker_class: str

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.python[0]}.{self.python[1]}-{self.gunicorn}-{self.worker_class}"

    @property
    def log(self) -> Path:
        """Where its output is kept; the last line is its result."""
        return ROOT / KEPT / f"{self.name}.log"

    def has_passed(self) -> bool:
        """Tell whether it did in a former run."""
        return self.log.exists() and self.log.read_text().endswith("\npass\n")

    def inapplicable(self) -> str | None:
        """Return why there is nothing to run; None if there is."""
        version = tuple(int(part) for part in self.gunicorn.split("."))
        since, why_since = SINCE.get(self.worker_class, (version, None))
        until, why_until = UNTIL.get(self.worker_class, (None, None))
        if version < since:
            return why_since
        if self.worker_class == "eventlet" and version >= (25, 1) and self.python >= (3, 13):
            return "gunicorn 25's control server does not stop under eventlet on Python 3.13"
        return why_until if until and version >= until else None


def install(python: Version, gunicorn: str, interpreter: Path, wheel: Path) -> Path:
    """Return the interpreter of a virtual environment for cells of one gunicorn."""
    packages = [f"gunicorn=={gunicorn}", *PACKAGES]
    if gunicorn.startswith("20."):
        packages.append("setuptools<81")  # it imports pkg_resources
        packages.append("uvicorn<0.36")  # the uvicorn-worker that takes it knows no later one
    return environment(f"{KEPT}/{python[0]}.{python[1]}-{gunicorn}", interpreter, wheel, *packages)


def run(cell: Cell, interpreter: Path, here: Path) -> str:
    """Run one cell; returns what stands in the table. A cell passes only if tests have."""
    began = time.monotonic()
    tests = f"{COUNTING} or {LIFE}" if cell.worker_class in LIVING else COUNTING
    command = [*FILES, "-k", f"current and ({tests})"]
    env = os.environ | {"WORKER_CLASS": cell.worker_class}
    with cell.log.open("w") as output:
        status = pytest(interpreter, here, *command, env=env, stdout=output, stderr=output)
    passed = re.findall(r"^(\d+) passed", cell.log.read_text(), re.MULTILINE)
    result = "pass" if status == 0 and passed else "FAIL"
    with cell.log.open("a") as output:
        print(result, file=output)
    took = f"{time.monotonic() - began:.0f} s"
    print(f"{cell.name}: {result}, {passed[-1] if passed else 'not all'} tests, {took}", flush=True)
    return result


def table(results: dict[Cell, str]) -> str:
    """Return all results as text: a line for each Python and worker class."""
    gunicorns = list(dict.fromkeys(cell.gunicorn for cell in results))
    reasons: list[str] = []
    lines = [line("Python", "worker class", *gunicorns)]
    for python, worker_class in dict.fromkeys((c.python, c.worker_class) for c in results):
        words = []
        for gunicorn in gunicorns:
            result = results[Cell(python, gunicorn, worker_class)]
            if result not in ("pass", "FAIL"):
                reasons += [] if result in reasons else [result]
                result = f"({reasons.index(result) + 1})"
            words.append(result)
        lines.append(line(f"{python[0]}.{python[1]}", worker_class, *words))
    lines += [f"({number}) {reason}" for number, reason in enumerate(reasons, 1)]
    for cell, result in results.items():
        if result == "FAIL":
            lines.append(f"{cell.name}: see {cell.log.relative_to(ROOT)}")
    return "\n".join(lines)


def line(python: str, worker_class: str, *words: str) -> str:
    """Return a line of the table."""
    return f"{python:<8}{worker_class:<32}{''.join(f'{word:<8}' for word in words)}".rstrip()


def arguments() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    there = [f"{major}.{minor}" for major, minor in pythons()]
    parser.add_argument("--python", nargs="+", choices=there, default=there)
    parser.add_argument("--gunicorn", nargs="+", metavar="VERSION", default=GUNICORNS)
    parser.add_argument("--worker-class", nargs="+", choices=CLASSES, default=list(CLASSES))
    parser.add_argument("--go-on", action="store_true")
    return parser.parse_args()


def chosen(args: argparse.Namespace) -> list[Cell]:
    """Return the cells that the arguments name."""
    gunicorns = [g for g in GUNICORNS if any(f"{g}.".startswith(f"{a}.") for a in args.gunicorn)]
    versions = [(int(major), int(minor)) for major, minor in (v.split(".") for v in args.python)]
    return [Cell(*one) for one in itertools.product(versions, gunicorns, args.worker_class)]


def main() -> int:
    """Run the cells; returns 1 if one failed."""
    args = arguments()
    cells, interpreters = chosen(args), pythons()
    results = {cell: cell.inapplicable() or "" for cell in cells}
    if args.go_on:
        results |= {cell: "pass" for cell in cells if not results[cell] and cell.has_passed()}
    with wheel_and_tests() as (wheel, here), ThreadPoolExecutor(AT_ONCE) as pool:

        def run_all(python: Version, gunicorn: str) -> None:
            """Run the cells that share an environment, one after the other."""
            interpreter = install(python, gunicorn, interpreters[python], wheel)
            for cell, result in results.items():
                if (cell.python, cell.gunicorn) == (python, gunicorn) and not result:
                    results[cell] = run(cell, interpreter, here)

        environments = dict.fromkeys((c.python, c.gunicorn) for c in cells if not results[c])
        list(pool.map(lambda names: run_all(*names), environments))
    print(table(results))
    return 1 if "FAIL" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
