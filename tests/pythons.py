"""Run the tests on every other supported Python of pyenv's that is there, with the one wheel."""

import sys

from wheels import PYENV, environment, pytest, pythons, wheel_and_tests

AT_ONCE = ["-n", "4", "--dist", "worksteal"]

# Everything but the integration tests, and of those what shows that a server counts. The fuzzers
# compile the sources, which a wheel's tests have not beside them.
TESTS = [
    [
        *AT_ONCE,
        "tests",
        "-m",
        "not once",
        "--ignore=tests/integration",
        "--ignore=tests/deploy",
        "--ignore=tests/docs",
        "--ignore=tests/release",
    ],
    [*AT_ONCE, "tests/integration/test_ways_in.py", "-k", "shipped and current"],
    [*AT_ONCE, "tests/integration/test_exact.py", "-k", "current-sync"],
]


# What could differ most from Python to Python: native code, coroutines, frames.
QUICK = [[*AT_ONCE, "-m", "not once", "tests/native", "tests/counting", "tests/worker_classes",
          "tests/scoreboard/test_board.py", "tests/scoreboard/test_memory.py",
          "tests/test_raindrops.py", "tests/test_shm.py"], *TESTS[1:]]  # fmt: skip


def main() -> int:
    """Test them all; returns 1 if one failed."""
    chosen = QUICK if sys.argv[1:] == ["--quick"] else TESTS
    others = {
        version: path for version, path in pythons().items() if version != sys.version_info[:2]
    }
    if not others:
        print(f"no other supported Python under {PYENV}: nothing more to test")
        return 0
    if chosen is QUICK:  # the first and the last of them
        others = {version: others[version] for version in (min(others), max(others))}
    failed = []
    with wheel_and_tests() as (wheel, here):
        for (major, minor), python in others.items():
            interpreter = environment(f".venv-python{major}.{minor}", python, wheel)
            for tests in chosen:
                what = f"Python {major}.{minor}: {' '.join(tests)}"
                print(what, flush=True)
                if pytest(interpreter, here, *tests):
                    failed.append(what)
    for what in failed:
        print(f"failed on {what}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
