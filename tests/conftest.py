"""What the unit tests share: forked children with a line to their parent, and a check of leftovers.

A test's child runs a function of the test and must end with status 0; what it raises is printed
and ends it with 1. Nobody waits for ever: parents wait ten seconds, children have an alarm.
"""

import contextlib
import faulthandler
import gc
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

import hypothesis
import pytest

from gunicorn_raindrops.exporters import json as render

from . import schema
from .bounds import LONG, WAIT

# No example is too slow: on a busy machine any can be. Each run has the same ones, but for those of
# `make fuzz`.
hypothesis.settings.register_profile("fuzz", deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _every_json_is_as_the_schema_has_it():
    """In this process; what servers answer is checked where it is read (see servers.py)."""
    made, render.as_dict = render.as_dict, lambda snapshot: schema.check(made(snapshot))
    yield
    render.as_dict = made


class Link:
    """One end of the line between a test and its child: words, one at a time, in order."""

    def __init__(self, end):
        end.settimeout(WAIT)
        self._end = end

    def say(self, word=b"."):
        """Send a word, of bytes."""
        self._end.send(word)

    def hear(self):
        """Return the next word; b"" when the other end is gone."""
        return self._end.recv(65536)

    def close(self):
        """Hang up."""
        self._end.close()


class Child:
    """A forked process."""

    def __init__(self, function, args, siblings):
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if not self.pid:
            ours.close()
            for sibling in siblings:  # their lines end when their parent hangs up
                sibling.link.close()
            self._run(function, Link(its), args)
        its.close()
        self.link = Link(ours)
        self._pidfd = os.pidfd_open(self.pid)
        self.status = None

    def _run(self, function, link, args):
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends it even in a C call
            signal.alarm(int(LONG))
            faulthandler.disable()  # some are meant to be killed
            function(link, *args)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def die(self):
        """Wait until the process has ended, and leave it a zombie."""
        ended, _, _ = select.select([self._pidfd], [], [], WAIT)
        assert ended, f"child {self.pid} does not end"

    def wait(self):
        """Wait for its end; return its exit status, or the negated signal that ended it."""
        if self.status is None:
            self.die()
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._pidfd)
            self.link.close()
        return self.status

    def kill(self, sig=signal.SIGKILL):
        """Send a signal."""
        os.kill(self.pid, sig)

    def check(self):
        """Wait for its end, which must be a good one."""
        assert self.wait() == 0


@pytest.fixture
def fork():
    """Return a function that forks: `fork(function, *args)` calls `function(link, *args)` in the
    child. Children that still run when the test ends are killed."""
    children = []

    def start(function, *args):
        children.append(Child(function, args, children))
        return children[-1]

    yield start
    for child in children:
        if child.status is None:
            child.kill()
            child.wait()


def descriptors(pid="self"):
    """Return how many descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _descriptors():
    found = {}
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[int(fd.name)] = str(fd.readlink())
    # That of the listing itself is gone by now.
    return {fd: what for fd, what in found.items() if "/proc/" not in what}


def _threads():
    return sorted(task.name for task in Path("/proc/self/task").iterdir())


def _children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def pytest_collection_finish():
    """Leave what is there by now out of each test's collections, which cost minutes otherwise."""
    gc.collect()
    gc.freeze()


def _holdings():
    """Return all that a test could leave behind."""
    found = {("descriptor", fd, what) for fd, what in _descriptors().items()}
    found |= {("thread", tid) for tid in _threads()}
    return found | {("child", pid) for pid in _children()}


@pytest.fixture(autouse=True)
def nothing_left(request):
    """Check that a test leaves no descriptor, no thread and no child in this process.

    The integration tests share servers, which check for themselves that nothing is left of them.
    """
    if "integration" in request.path.parts or not Path("/proc/self/fd").exists():
        yield
        return
    before = _holdings()
    yield
    if _holdings() - before:
        gc.collect()  # what a failed call's traceback held, say
    assert settled(lambda: _holdings() - before, set()) == set()


def settled(look, expected):
    """Return what `look` sees, which has ten seconds to become what is expected.

    `Thread.join` returns before the kernel has ended the thread, and a process that was waited for
    may leave its parent's list a moment later.
    """
    until = time.monotonic() + WAIT
    while (seen := look()) != expected and time.monotonic() < until:
        threading.Event().wait(0.005)
    return seen
