"""High-water marks against a model, and after violence."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_raindrops._native._scoreboard import ffi, lib
from gunicorn_raindrops.counting.request import WRITING
from gunicorn_raindrops.counting.slots import BoardSlot
from gunicorn_raindrops.scoreboard.board import MARK_SECONDS, Scoreboard

SLOTS = 3


class Places:
    """Slots of one scoreboard, all of them this process's, and their requests in flight."""

    def __init__(self):
        self.board = Scoreboard(SLOTS)
        self.claims = [self.board.claim() for _ in range(SLOTS)]
        self.held = [self._take_over(claim) for claim in self.claims]
        self.requests = [[] for _ in range(SLOTS)]

    def _take_over(self, claim):
        return BoardSlot(self.board, claim, self.board.take_over_slot(claim))

    def begin(self, slot):
        self.requests[slot].append([self.held[slot].begin(), 0])

    def respond(self, slot):
        for request in self.requests[slot]:
            if not request[1]:
                self.held[slot].respond(request[0])
                request[1] = WRITING
                return

    def end(self, slot):
        if self.requests[slot]:
            ticket, phase = self.requests[slot].pop()
            self.held[slot].end(ticket, phase | 2)

    def release(self, slot):
        """End a slot as if its worker had been killed, and have another take it."""
        self.board.release(self.claims[slot])
        self.requests[slot].clear()
        self.claims[slot] = self.board.claim()
        self.held[slot] = self._take_over(self.claims[slot])

    def read(self, slot):
        self.board.read()

    def reap(self, slot):
        self.board.reap()

    def level(self):
        """Return what is in flight: calling, writing."""
        phases = [phase for requests in self.requests for _, phase in requests]
        return phases.count(0), phases.count(WRITING)

    def marks(self):
        marks = self.board.marks(MARK_SECONDS)
        return marks.calling, marks.writing

    def forget(self):
        """Have everything so far be long ago."""
        self.board.header.marks.seconds = ffi.new("uint64_t[64][4]")


@pytest.fixture
def places():
    places = Places()
    yield places
    places.board.forget_file()


STEPS = ["begin", "begin", "begin", "respond", "end", "release", "read", "reap"]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, SLOTS - 1)), max_size=60))
def test_marks_against_a_model(steps):
    """They are the most that there ever were at once, whoever is killed or read in between."""
    places = Places()
    most = (0, 0)
    try:
        for step, slot in steps:
            getattr(places, step)(slot)
            most = tuple(map(max, most, places.level()))
            assert places.marks() == most
    finally:
        places.board.forget_file()


@pytest.mark.parametrize("writing", [0, 1, 3])
def test_a_killed_workers_requests_were_there_until_it_was_reaped(places, writing):
    """All of what it had in flight is marked in the second in which that is taken away."""
    for _ in range(3):
        places.begin(0)
    for _ in range(writing):
        places.respond(0)
    places.forget()
    places.release(0)
    assert places.marks() == (3 - writing, writing)
    places.forget()
    assert places.marks() == (0, 0)


def test_a_level_that_went_wrong_is_put_right(places):
    """A worker that was killed between its two additions leaves the level too high. Who reaps puts
    that right once it has found it twice: the first time, a step may be under way."""
    places.begin(0)
    header = places.board.header
    for wrong in (1 << lib.GRD_GAUGE_BITS, -(1 << lib.GRD_GAUGE_BITS), 1, -1):
        right = header.marks.level % (1 << 40)
        header.marks.level = (header.marks.level + wrong) % 2**64
        places.board.reap()
        assert header.marks.level % (1 << 40) == (right + wrong) % (1 << 40)
        places.board.reap()
        assert header.marks.level % (1 << 40) == right
        places.forget()
        assert places.marks() == (1, 0)
    places.end(0)
    places.forget()
    assert places.marks() == (0, 0)


def test_a_level_below_nothing_marks_nothing(places):
    """It is as if nobody knew: never a million requests."""
    places.board.header.marks.level = 2**64 - 1
    assert places.marks() == (0, 0)
    places.begin(0)
    assert max(places.marks()) <= 1


@pytest.mark.parametrize(
    ("ago", "seconds", "counts"),
    [(3, 5, True), (9, 5, False), (60, MARK_SECONDS, True), (-9, MARK_SECONDS, False)],
)
def test_only_a_windows_seconds_count(places, ago, seconds, counts):
    """Neither older ones, nor such as are yet to come: the pages may hold anything."""
    now = None
    while now != time.monotonic_ns() // 10**9:  # again where the second was over meanwhile
        now = time.monotonic_ns() // 10**9
        places.forget()
        places.board.header.marks.seconds[(now - ago) % 64][0] = (now - ago) << 32 | 7
        found = places.board.marks(seconds).calling
    assert found == (7 if counts else 0)


def test_queued_and_waiting_are_what_was_seen(places):
    """The most that any reader has seen; an impossible number is none."""
    for queued in (3, 7, 5, 2**40):
        places.board.saw_queued(queued)
        places.board.saw_waiting(queued + 1)
    places.board.saw_waiting(None)
    most = places.board.marks(MARK_SECONDS)
    assert (most.queued, most.waiting) == (7, 8)
