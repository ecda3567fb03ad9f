"""Which owners live, and how seldom /proc is read for that."""

import os
import sys
import types
import weakref

import pytest

from gunicorn_raindrops._native._scoreboard import ffi, lib
from gunicorn_raindrops.scoreboard import liveness
from gunicorn_raindrops.scoreboard.board import CLAIMED, READY
from gunicorn_raindrops.scoreboard.liveness import Liveness, lives

TAG = (1 << lib.GRD_TAG_BITS) - 1
START = 123_456_789
OURS = lib.grd_pid_namespace()


def owner(slot=0, pid=1000, *, state=READY, start=START, word=7, namespace=OURS, known=1):
    """Return what a `struct grd_slot_record` says of an owner."""
    return types.SimpleNamespace(
        slot=slot,
        pid=pid,
        state=state,
        start=0 if state == CLAIMED else start,
        tag=start & TAG,
        owner=word,
        namespace=namespace,
        is_namespace_known=known,
    )


class System:
    """Stands in for the kernel and the clock."""

    def __init__(self, monkeypatch):
        self.now, self.start, self.runs, self.asked = 100.0, START, 1, []
        for name in ("GRD_CLAIMED", "grd_pid_namespace"):
            setattr(self, name, getattr(lib, name))
        monkeypatch.setattr(liveness, "lib", self)
        monkeypatch.setattr(liveness.time, "monotonic", lambda: self.now)

    def grd_process_start(self, pid):
        self.asked.append("start")
        return self.start if self.runs else -1

    def grd_process_runs(self, pid):
        self.asked.append("runs")
        return self.runs


@pytest.fixture
def system(monkeypatch):
    return System(monkeypatch)


def test_proc_is_read_once_a_second(system):
    """In between the kernel is asked only whether the pid is there."""
    known = Liveness()
    for _ in range(10):
        assert known.lives(owner())
    assert system.asked == ["start"] + ["runs"] * 9
    system.now += 1
    assert known.lives(owner())
    assert known.lives(owner(slot=1))
    assert known.lives(owner(word=8)), "another owner in that slot"
    assert system.asked[10:] == ["start"] * 3


def test_an_end_is_seen_at_once(system):
    """And for good: no other process is that owner."""
    known = Liveness()
    assert known.lives(owner())
    system.runs = 0
    assert not known.lives(owner())
    system.runs = 1
    system.now += 60
    assert not known.lives(owner())
    assert known.lives(owner(word=8))


def test_a_reused_pid_is_seen_within_a_second(system):
    """It is another process's, which started later."""
    known = Liveness()
    assert known.lives(owner())
    system.start += 5
    system.now += 1
    assert not known.lives(owner())


@pytest.mark.parametrize("state", [CLAIMED, READY])
@pytest.mark.parametrize(
    ("recorded", "found", "alive"),
    [
        (START, START, True),
        (START, START + 1, False),
        (START, 0, True),
        (0, START, True),
        (START, -1, False),
    ],
)
def test_start_times(system, state, recorded, found, alive):
    """One that is not known, on either side, excludes nothing."""
    system.start = found
    assert Liveness().lives(owner(state=state, start=recorded)) is alive


def test_another_namespace(system):
    """Its owners count as alive, and nobody is asked."""
    system.runs = 0
    assert Liveness().lives(owner(namespace=OURS + 1))
    assert system.asked == []


def test_a_claim_whose_namespace_never_came(system):
    """It has ten seconds from when it was first seen."""
    known, claim = Liveness(), owner(state=CLAIMED, known=0)
    system.runs = 0
    assert known.lives(claim)
    system.now += liveness.UNKNOWN_SECONDS - 0.1
    assert known.lives(claim)
    system.now += 0.2
    assert not known.lives(claim)
    assert known.lives(owner(state=CLAIMED, known=0, word=9))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a zombie cannot be told")
def test_zombies_are_dead(fork):
    """Before their parent waits for them, and in the quick answer too."""
    child = fork(lambda link: link.hear())
    assert lives(child.pid)
    assert lives(os.getpid())
    child.kill()
    child.die()
    assert not lives(child.pid)
    assert lib.grd_process_start(child.pid) == -1
    child.wait()
    assert not lives(child.pid)


def test_what_is_listed_keeps_its_memory():
    """As long as it is iterated over: an element of a cffi array does not keep the array."""
    words = ffi.new("struct grd_slot_record[]", 2)
    for i in range(2):  # of another PID namespace, so nobody here can say that it is dead
        words[i].is_namespace_known, words[i].namespace, words[i].calling = 1, 1, 7
    kept = weakref.ref(words)
    listed = Liveness().living(words, 2)
    del words
    assert [(record.calling, kept() is None) for record in listed] == [(7, False)] * 2
