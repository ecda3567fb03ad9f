"""Run all benchmarks, one after the other, and sum up their verdicts in one table.

A benchmark that takes too long is ended and counts as failed. Status 1 when any claim failed.
"""

import os
import signal
import subprocess
import sys
import time

import common

QUICK = ["--quick"]
BENCHMARKS = {
    "counters": QUICK,
    "request": QUICK,
    "everything": QUICK,
    "instructions": QUICK,
    "memory": QUICK,
    "throughput": QUICK,
    "worker_classes": QUICK,
    "convoy": QUICK,
    "histogram": QUICK,
    "scrape": QUICK,
    "listeners": ["--rounds", "5"],
    "status": QUICK,
    "looks": QUICK,
    "usage": QUICK,
    "timeouts": QUICK,
}
"""The benchmarks, and what makes each a quick one."""

LIMIT = 300
"""Seconds for one benchmark; each takes a minute or two."""

Line = tuple[str, str, str]


def main() -> None:
    quick = common.arguments(__doc__).quick
    began = time.monotonic()
    table: list[Line] = []
    for name, options in BENCHMARKS.items():
        print(f"== {name}", flush=True)
        table += run(name, options if quick else [])
        print(flush=True)
    print(f"== summary, {time.monotonic() - began:.0f} s")
    for name, result, text in table:
        print(f"{result}  {name:12}  {text}")
    sys.exit(1 if any(result == "FAIL" for _, result, _ in table) else 0)


def run(name: str, options: list[str]) -> list[Line]:
    """Run one benchmark, in a session of its own, and return its verdicts."""
    process = subprocess.Popen(
        [sys.executable, "-u", common.HERE / f"{name}.py", *options],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    signal.signal(signal.SIGALRM, lambda *_: stop(process))
    signal.alarm(LIMIT)
    lines: list[Line] = []
    for text in process.stdout:
        print(text, end="", flush=True)
        result, _, rest = text.rstrip().partition(" ")
        if result in ("PASS", "FAIL", "SKIP"):
            lines.append((name, result, rest))
    status = process.wait()
    signal.alarm(0)
    if status != 0 and not any(result == "FAIL" for _, result, _ in lines):
        lines.append((name, "FAIL", f"it ended with status {status}"))
    if not lines:
        lines.append((name, "PASS", "its bars, see above"))
    return lines


def stop(process: "subprocess.Popen[str]") -> None:
    """End a benchmark and the servers and peers that it started, which are in its session."""
    os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
