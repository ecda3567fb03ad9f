"""The memory in which an arbiter finds the last stacks of its workers."""

import os

import pytest

from gunicorn_raindrops.looking.stacks import HALF, PLACE, Stacks


@pytest.fixture
def stacks():
    return Stacks(3)


def test_kept(stacks):
    """The last text of each slot, across processes."""
    assert stacks.read(1) == ""
    pid = os.fork()
    if not pid:
        stacks.keep(1, "one\n  two")
        stacks.keep(1, "three\n  \u00e9")
        os._exit(0)
    os.waitpid(pid, 0)
    assert [stacks.read(i) for i in range(3)] == ["", "three\n  \u00e9", ""]
    stacks.keep(1, "")
    assert stacks.read(1) == ""


def test_cut(stacks):
    """A text without end leaves its neighbours alone."""
    stacks.keep(0, "a")
    stacks.keep(2, "c")
    for _ in range(2):  # into both halves
        stacks.keep(1, "\u00e9" * HALF)
    text = stacks.read(1)
    assert HALF - 10 < len(text.encode()) <= HALF
    assert text.endswith("\n...")
    assert (stacks.read(0), stacks.read(2)) == ("a", "c")


def test_what_a_hostile_worker_writes(stacks):
    """Rubbish is cut, and loses what is not printed."""
    for seed in range(20):
        stacks._pages[PLACE : 2 * PLACE] = bytes(
            (i * (seed + 3) + seed) % 256 for i in range(PLACE)
        )
        text = stacks.read(1)
        assert len(text) < 8 * HALF
        assert all(line.isprintable() for line in text.split("\n"))


def test_killed_while_it_writes(stacks):
    """What was there before is read, as long as the new text is not complete."""
    stacks.keep(1, "before")
    other = 1 - (stacks._pages[PLACE] & 1)
    begin = PLACE + other * HALF
    stacks._pages[begin + 1 : begin + 40] = b"x" * 39
    assert stacks.read(1) == "before"
