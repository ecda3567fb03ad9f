"""Busy seconds against a model, and at the ends of their words."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_raindrops.counting.slots import BoardSlot
from gunicorn_raindrops.scoreboard.board import Scoreboard

TICK = 4096
TURN = 2**48  # ticks


class Slot:
    """A slot of this process, and what its requests must have taken: from, to, ns."""

    def __init__(self):
        self.board = Scoreboard(2)
        self.claim = self.board.claim()
        self.slot = self.board.take_over_slot(self.claim)
        self.requests = []
        self.took = [0, 0]
        self.held = BoardSlot(self.board, self.claim, self.slot)

    def begin(self):
        before = time.monotonic_ns()
        ticket = self.held.begin()
        self.requests.append((ticket, before, time.monotonic_ns()))

    def end(self):
        if not self.requests:
            return
        ticket, *began = self.requests.pop(0)
        before = time.monotonic_ns()
        self.held.end(ticket, 2)
        self._add(began, before, time.monotonic_ns())

    def release(self):
        """End the slot as if its worker had been killed, and have another take it."""
        before = time.monotonic_ns()
        self.board.release(self.claim)
        after = time.monotonic_ns()
        for _, *began in self.requests:
            self._add(began, before, after)
        self.requests.clear()
        self.claim = self.board.claim()
        self.held = BoardSlot(self.board, self.claim, self.board.take_over_slot(self.claim))

    def read(self):
        pass

    def _add(self, began, before, after):
        self.took[0] += before - began[1] - TICK
        self.took[1] += after - began[0] + TICK

    def busy(self):
        """Return what the scoreboard says, within what it must; ns."""
        before = time.monotonic_ns()
        found = self.board.read().busy_seconds[0] * 1e9
        after = time.monotonic_ns()
        least, most = self.took
        for _, *began in self.requests:
            least += before - began[1] - TICK
            most += after - began[0] + TICK
        assert least - 1 <= found <= most + 1
        return found


@pytest.fixture
def slot():
    slot = Slot()
    yield slot
    slot.board.forget_file()


STEPS = ["begin", "begin", "begin", "end", "end", "release", "read"]


@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_busy_against_a_model(steps):
    """It is the time that requests have been inside, whoever is killed in between, and at no look
    less than at the one before."""
    slot = Slot()
    try:
        told = 0
        for step in steps:
            getattr(slot, step)()
            now = slot.busy()
            assert now >= told
            told = now
    finally:
        slot.board.forget_file()


def test_idle_is_not_busy(slot):
    """Once the last request has ended it stands still, to the nanosecond."""
    slot.begin()
    slot.end()
    assert slot.busy() == slot.busy()


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_the_word_goes_round(slot, turns):
    """Ticks are kept modulo their width: what was told before says how often they went round."""
    told = turns * TURN + TURN - 2
    slot.slot.busy, slot.slot.busy_told = (told % TURN) << 16, told
    before = slot.board.read().busy_seconds[0]
    slot.begin()
    until = time.monotonic_ns() + 16 * TICK
    while time.monotonic_ns() < until:
        pass
    during = slot.board.read().busy_seconds[0]
    slot.end()
    after = slot.board.read().busy_seconds[0]
    assert before < during <= after < before + 3600


def test_a_reader_that_was_held_up(slot):
    """It may have told of more than there was: nobody tells of less, until there is."""
    slot.begin()
    slot.end()
    ahead = int(slot.busy()) // TICK + 3600 * 10**9 // TICK
    slot.slot.busy_told = ahead
    before = slot.board.read().busy_seconds[0]
    slot.begin()
    slot.end()
    assert slot.board.read().busy_seconds[0] == before == pytest.approx(ahead * TICK / 1e9)


def test_as_many_requests_as_there_may_be(slot):
    """The count has 16 bits: ten thousand at once neither reach the ticks nor are lost."""
    for _ in range(10_000):
        slot.begin()
    slot.busy()
    for _ in range(10_000):
        slot.end()
    assert slot.slot.busy & 0xFFFF == 0
    assert slot.busy() == slot.busy()


def test_of_another_boot(tmp_path):
    """Its instants say nothing here: what was in flight then ends as of the last look."""
    file = tmp_path / "board"
    board = Scoreboard(1, str(file))
    claim = board.claim()
    slot = board.take_over_slot(claim)
    BoardSlot(board, claim, slot).begin()
    told = board.read().busy_seconds[0]
    board.header.boot_id = b"another".ljust(40, b"\0")
    # an uptime of a century: as if its begin were to come
    slot.busy = (slot.busy - ((100 * 365 * 86400 * 10**9 // TICK) << 16)) % 2**64
    board.forget_file()
    again = Scoreboard(1, str(file))
    try:
        assert again.read().busy_seconds == (told,)
        assert again.read().rows == ()
    finally:
        again.forget_file()
