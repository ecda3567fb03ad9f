"""The gate between a thread's work and the forks of its process."""

import os
import threading
import time

from gunicorn_raindrops.status import gate
from gunicorn_raindrops.status.gate import ForkGate

from ..bounds import WAIT


def forked(child):
    """Run `child` in a forked process; return what it returned, a small int."""
    pid = os.fork()
    if pid == 0:
        os._exit(child())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Working:
    """A thread that works in a gate until it is told to stop; `with` waits until it does."""

    def __init__(self, shut):
        self.gate, self.lock, self.stop = ForkGate(), threading.Lock(), threading.Event()
        self.shut = shut
        self.began = threading.Event()
        self.thread = threading.Thread(target=self._work)

    def _work(self):
        with self.gate, self.lock:
            self.began.set()
            self.stop.wait(self.shut)

    def __enter__(self):
        self.thread.start()
        assert self.began.wait(WAIT)
        return self

    def __exit__(self, *exc):
        self.stop.set()
        self.thread.join(WAIT)
        assert not self.thread.is_alive()


def test_a_fork_waits_for_the_work(fork):
    """So that the child finds no lock of the thread's taken."""

    def part(link):
        with Working(0.2) as one:
            assert forked(lambda: one.lock.acquire(blocking=False)) == 1

    fork(part).check()


def test_the_work_waits_for_a_fork(fork):
    """It goes on after it, in the parent; and so does the next fork, there and in the child."""

    def part(link):
        one = ForkGate()
        assert forked(lambda: forked(lambda: 3)) == 3
        with one:
            pass
        assert forked(lambda: 4) == 4

    fork(part).check()


def test_a_fork_does_not_wait_for_ever(fork, monkeypatch):
    """Nor does the child of such a one."""
    monkeypatch.setattr(gate, "PATIENCE_SECONDS", 0.1)

    def part(link):
        with Working(WAIT):
            began = time.monotonic()
            assert forked(lambda: forked(lambda: 5)) == 5
            assert time.monotonic() - began < WAIT / 2

    fork(part).check()


def test_the_thread_itself_may_fork(fork):
    """A user's log handler may do so."""

    def part(link):
        with ForkGate():
            assert forked(lambda: 6) == 6

    fork(part).check()


def test_threads_that_fork_at_once(fork):
    """Each waits for the other, and for the thread."""

    def part(link):
        one, results = ForkGate(), []
        threads = [
            threading.Thread(target=lambda: results.append(forked(lambda: 7))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
            with one:
                time.sleep(0.001)
        for thread in threads:
            thread.join(WAIT)
        assert results == [7] * 8

    fork(part).check()
