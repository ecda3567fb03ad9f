"""`gunicorn-raindrops top --pid` of 500 workers: how much of a processor it takes.

Bar: 5 % of a core, at one refresh a second or, where the machine is too busy for that, as often as
`top` then does. Each worker has a request that goes on, so that
each line changes each time; the terminal is 80 columns by 24 lines, then 200 by 50. What counts is
the command's own processor time, threads included, from its third second on.

The workers are forked processes with a slot each, and do nothing else: what they would do costs
`top` nothing, and the machine a lot.
"""

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import sys
import termios
import time
from pathlib import Path

import common

from gunicorn_raindrops.counting import attached, request
from gunicorn_raindrops.scoreboard.board import Scoreboard

WORKERS = 500
BAR = 5.0  # % of a core
SIZES = ((80, 24), (200, 50))
WARM = 3.0  # seconds
HZ = os.sysconf("SC_CLK_TCK")


def main() -> None:
    seconds = 10.0 if common.arguments(__doc__).quick else 40.0
    pid = serve()
    try:
        found = {size: measure(pid, size, seconds) for size in SIZES}
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    common.finish([report(size, percent) for size, percent in found.items()])


def serve() -> int:
    """Start a server of sorts, and return its arbiter's pid when all workers are there."""
    ready, done = os.pipe()
    pid = os.fork()
    if pid:
        os.close(done)
        os.read(ready, 1)
        os.close(ready)
        return pid
    os.setpgid(0, 0)
    board = Scoreboard(1024)
    board.want(WORKERS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        for age in range(1, WORKERS + 1):
            slot = board.claim()
            if not os.fork():
                work(board, slot, age)
        os.write(done, b".")
        signal.pause()
    os._exit(0)


def work(board: Scoreboard, slot: int | None, age: int) -> None:
    """Be a worker in a request, until the end."""
    attached.take_over(board, slot, age, 1)
    attached.ready()
    request.begin("GET", f"/report/{age}")
    signal.pause()
    os._exit(0)


def measure(server: int, size: tuple[int, int], seconds: float) -> float:
    """Return how many percent of a processor the command takes."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        command = [sys.executable, "-m", "gunicorn_raindrops", "top", "--pid", str(server)]
        os.execv(command[0], command)
    columns, lines = size
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    try:
        shown = drain(terminal, WARM)
        assert b"/report/1 " in shown or b"/report/1\x1b" in shown, shown[-2000:]
        before, began = used(pid), time.monotonic()
        drawn = drain(terminal, seconds).count(b"\x1b[1;1H")  # the first line has the time
        passed = time.monotonic() - began
        print(f"  {size[0]}x{size[1]}: a refresh every {passed / max(1, drawn):.2f} s")
        return 100 * (used(pid) - before) / passed
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        os.close(terminal)
        os.waitpid(pid, 0)


def drain(terminal: int, seconds: float) -> bytes:
    """Read what is written to a terminal, for some seconds."""
    until, found = time.monotonic() + seconds, b""
    while (left := until - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            found += os.read(terminal, 65536)
    return found


def used(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def report(size: tuple[int, int], percent: float) -> bool:
    name = "top, 500 workers, {}x{}".format(*size)
    return common.verdict(percent < BAR, name, f"{percent:.1f} % of a core", f"{BAR:.0f} %")


if __name__ == "__main__":
    main()
