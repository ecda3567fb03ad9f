"""Instructions that a request takes, with us and without, counted by valgrind's callgrind.

Bar: under 2 % more than bare gunicorn's. A request here is all that gunicorn does in user space
from its first byte to the last one of the answer (see driver.py), with N and with 2N requests;
the difference between the two has no start-up in it. What the hooks add is told against hooks that
do nothing, since ours replaces gunicorn's own pre_request, a debug log line.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

import common

BAR = 0.02
KINDS = {"bare": "bare", "same": "bare", "empty": "empty", "ours": "ours"}


def main() -> None:
    quick = common.arguments(__doc__).quick
    if shutil.which("valgrind") is None:
        common.skipped("instructions", "valgrind")
        sys.exit(0)
    found = measure(100 if quick else 400)
    bare, same = found["bare"], found["same"]
    print("instructions a request, in user space:")
    for name, value in found.items():
        print(f"  {name:6} {value:10,.0f}  ({value / bare - 1:+.2%} of bare)")
    print(f"  A/A: {abs(same / bare - 1):.3%}")
    share = (found["ours"] - found["empty"]) / bare
    figure = f"{share:.2%} against empty hooks, {found['ours'] / bare - 1:+.2%} against bare"
    common.finish([common.verdict(share < BAR, "instructions added", figure, f"under {BAR:.0%}")])


def measure(count: int) -> dict[str, float]:
    """Return the instructions of one request for each kind of driver."""
    jobs = [(kind, n) for kind in KINDS for n in (count, 2 * count)]
    collected(["--tool=none"], "ours", 1)  # leaves its byte code in the caches
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        totals = dict(zip(jobs, pool.map(lambda job: callgrind(*job), jobs), strict=True))
    return {kind: (totals[kind, 2 * count] - totals[kind, count]) / count for kind in KINDS}


def callgrind(name: str, count: int) -> int:
    """Return the instructions of a process that handles `count` requests."""
    tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"]
    output = collected(tool, KINDS[name], count)
    found = re.search(r"Collected : (\d+)", output)
    assert found is not None, output
    return int(found[1])


def collected(tool: list[str], kind: str, count: int) -> str:
    """Run the driver under valgrind; return what valgrind says."""
    command = ["valgrind", *tool, sys.executable, str(common.HERE / "driver.py"), kind, str(count)]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environ)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stderr


if __name__ == "__main__":
    main()
