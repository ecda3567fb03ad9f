"""What it costs a snapshot of 50 workers to tell what each of them uses.

Bar: 2.5 ms more than a snapshot that does not tell it. The workers are processes that sleep, each
with a slot; processor time and memory of each are read from /proc.
"""

import os
import signal
import statistics
import sys
import time

import common

from gunicorn_raindrops import sampler
from gunicorn_raindrops.processes import Usage
from gunicorn_raindrops.sampler import Sampler
from gunicorn_raindrops.scoreboard.board import READY, Scoreboard
from gunicorn_raindrops.snapshot import Arbiter

WORKERS = 50
BAR = 2.5  # ms


def main() -> None:
    rounds = 200 if common.arguments(__doc__).quick else 2000
    board = Scoreboard(WORKERS)
    workers = [worker(board) for _ in range(WORKERS)]
    taker = Sampler(board, Arbiter(os.getpid(), None, "", None, 0.0), [], (), print)
    real = sampler.processes.usage
    with_, without = [], []
    try:
        while any(one.state != "idle" for one in taker.take().workers or ()):
            time.sleep(0.01)
        for _ in range(rounds):
            with_.append(timed(taker))
            sampler.processes.usage = lambda pids: [Usage(None, None)] * len(list(pids))
            without.append(timed(taker))
            sampler.processes.usage = real
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    print(f"  with it    {common.spread(with_, ' ms')}")
    print(f"  without it {common.spread(without, ' ms')}")
    more = statistics.median(common.differences(with_, without))
    common.finish([common.verdict(more <= BAR, "usage of 50 workers", f"{more:.2f} ms", "2.5 ms")])


def worker(board: Scoreboard) -> int:
    """Fork a process that takes over a slot and sleeps; return its pid."""
    claim = board.claim()
    assert claim is not None
    pid = os.fork()
    if not pid:
        board.take_over_slot(claim, 1, 1)
        slot = board._slots + claim.slot
        sampler.scoreboard.lib.grd_set_state(slot, READY)
        time.sleep(600)
        os._exit(0)
    return pid


def timed(taker: Sampler) -> float:
    """Return how many ms a snapshot takes."""
    began = time.perf_counter()
    taker.take()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())
