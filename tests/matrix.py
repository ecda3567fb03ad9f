"""Run what shows that a server counts over gunicorns, Pythons and worker classes; print one table.

Usage: matrix.py [--python 3.11 ...] [--gunicorn 23 ...] [--worker-class sync ...]; without
arguments all there is: the supported Pythons of pyenv's, the last release of each gunicorn that is
supported, the worker classes of the tests. A cell of the table says pass, FAIL (the output is kept,
and named below), or a number that refers to a reason why there is nothing to run.
"""

import argparse
import itertools
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from integration.classes import CLASSES
from wheels import ROOT, Version, environment, pytest, pythons, wheel_and_tests

GUNICORNS = ["20.1.0", "21.2.0", "22.0.0", "23.0.0", "24.1.1", "25.3.0", "26.2.0", "27.0.1"]
KEPT = ".venv-matrix"
AT_ONCE = 2  # they mostly wait
# By file, which of its tests; each is run for one worker class alone.
COUNTING = {
    "tests/integration/test_counting.py": "current",
    "tests/integration/test_exact.py": "current",
}
LIFE = {"tests/integration/test_life.py": "current and (test_reload or twice or max_requests)"}
TESTS = {"sync": COUNTING | LIFE, "gthread": COUNTING | LIFE}
# Beside gunicorn itself, a worker class may need packages, and not be in every gunicorn.
PACKAGES = {
    "gevent": ["gevent"],
    "gevent_pywsgi": ["gevent"],
    "eventlet": ["eventlet"],
    "tornado": ["tornado"],
    "uvicorn_worker.UvicornWorker": ["uvicorn", "uvicorn-worker"],
    "uvicorn.workers.UvicornWorker": ["uvicorn"],
}
SINCE = {"asgi": (24, 1)}
UNTIL = {"eventlet": (26,)}


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

    def inapplicable(self) -> str | None:
        """Return why there is nothing to run; None if there is."""
        version = tuple(int(part) for part in self.gunicorn.split("."))
        since, until = SINCE.get(self.worker_class), UNTIL.get(self.worker_class)
        if since and version < since:
            return f"{self.worker_class} came with gunicorn {'.'.join(map(str, since))}"
        if until and version >= until:
            return f"{self.worker_class} went with gunicorn {'.'.join(map(str, until))}"
        return None


def install(cell: Cell, python: Path, wheel: Path) -> Path:
    """Return the interpreter of a virtual environment for a cell."""
    packages = [f"gunicorn=={cell.gunicorn}", *PACKAGES.get(cell.worker_class, [])]
    if cell.gunicorn.startswith("20."):
        packages.append("setuptools<81")  # it imports pkg_resources
    name = f"{cell.python[0]}.{cell.python[1]}-{cell.gunicorn}"
    return environment(f"{KEPT}/{name}", python, wheel, *packages)


def run(cell: Cell, python: Path, wheel: Path, here: Path) -> str:
    """Run one cell; returns what stands in the table."""
    reason = cell.inapplicable()
    if reason:
        return reason
    began = time.monotonic()
    log = ROOT / KEPT / f"{cell.name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        try:
            interpreter = install(cell, python, wheel)
        except subprocess.CalledProcessError as error:
            return f"cannot be installed: {error}"
        good = all(
            pytest(
                interpreter,
                here,
                path,
                "-k",
                which,
                env=os.environ | {"WORKER_CLASS": cell.worker_class},
                stdout=output,
                stderr=output,
            )
            == 0
            for path, which in TESTS.get(cell.worker_class, COUNTING).items()
        )
    result = "pass" if good else "FAIL"
    print(f"{cell.name}: {result}, {time.monotonic() - began:.0f} s", flush=True)
    return result


def table(results: dict[Cell, str]) -> str:
    """Return all results as text: a line for each Python and worker class."""
    gunicorns = list(dict.fromkeys(cell.gunicorn for cell in results))
    reasons: list[str] = []
    lines = ["".join(f"{word:<9}" for word in ["Python", "class", *gunicorns])]
    for python, worker_class in dict.fromkeys((c.python, c.worker_class) for c in results):
        words = [f"{python[0]}.{python[1]}", worker_class]
        for gunicorn in gunicorns:
            result = results[Cell(python, gunicorn, worker_class)]
            if result not in ("pass", "FAIL"):
                reasons += [] if result in reasons else [result]
                result = f"({reasons.index(result) + 1})"
            words.append(result)
        lines.append("".join(f"{word:<9}" for word in words))
    lines += [f"({number}) {reason}" for number, reason in enumerate(reasons, 1)]
    for cell, result in results.items():
        if result == "FAIL":
            lines.append(f"{cell.name}: see {KEPT}/{cell.name}.log")
    return "\n".join(lines)


def chosen() -> list[Cell]:
    """Return the cells that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    there = [f"{major}.{minor}" for major, minor in pythons()]
    parser.add_argument("--python", nargs="+", choices=there, default=there)
    parser.add_argument("--gunicorn", nargs="+", metavar="VERSION", default=GUNICORNS)
    parser.add_argument("--worker-class", nargs="+", choices=CLASSES, default=list(CLASSES))
    args = parser.parse_args()
    gunicorns = [g for g in GUNICORNS if any(f"{g}.".startswith(f"{a}.") for a in args.gunicorn)]
    versions = [(int(major), int(minor)) for major, minor in (v.split(".") for v in args.python)]
    return [Cell(*one) for one in itertools.product(versions, gunicorns, args.worker_class)]


def main() -> int:
    """Run the cells; returns 1 if one failed."""
    cells, interpreters = chosen(), pythons()
    results = dict.fromkeys(cells, "")
    with wheel_and_tests() as (wheel, here), ThreadPoolExecutor(AT_ONCE) as pool:

        def run_all(python: Version, gunicorn: str) -> None:
            """Run the cells that share an environment, one after the other."""
            for cell in cells:
                if (cell.python, cell.gunicorn) == (python, gunicorn):
                    results[cell] = run(cell, interpreters[python], wheel, here)

        environments = dict.fromkeys((cell.python, cell.gunicorn) for cell in cells)
        list(pool.map(lambda names: run_all(*names), environments))
    print(table(results))
    return 1 if "FAIL" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
