"""Busy seconds against a model, and at the ends of their words."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_raindrops import Raindrops
from gunicorn_raindrops._native._scoreboard import lib
from gunicorn_raindrops.counting.slots import BoardSlot
from gunicorn_raindrops.scoreboard.board import Scoreboard

COUNT = lib.GRD_BUSY_COUNT_BITS
TICK = 1 << lib.GRD_BUSY_TICK_BITS  # ns
TURN = 2 ** (64 - COUNT)  # ticks


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
    """Ticks are kept modulo their width: a total that the slot had says how often they went
    round."""
    total = turns * TURN + TURN - 2
    slot.slot.busy, slot.slot.busy_turn = (total % TURN) << COUNT, total
    before = slot.board.read().busy_seconds[0]
    slot.begin()
    until = time.monotonic_ns() + 16 * TICK
    while time.monotonic_ns() < until:
        pass
    during = slot.board.read().busy_seconds[0]
    slot.end()
    after = slot.board.read().busy_seconds[0]
    assert before < during <= after < before + 3600


def test_the_owner_keeps_count_of_turns(slot):
    """Each end raises the total that tells the turn, once it has moved a quarter turn beyond."""
    for eighth in range(1, 24):
        total = eighth * (TURN // 8) + 1
        slot.slot.busy = (total % TURN) << COUNT
        slot.begin()
        slot.end()
        assert total - slot.slot.busy_turn <= TURN // 4
        assert slot.board.read().busy_seconds[0] == pytest.approx(total * TICK / 1e9)


def test_a_step_that_lasts(slot):
    """An end has left the gauge, and its owner has lost the processor, or its life: its request
    counts up to that step, however often anybody looks."""
    slot.begin()
    time.sleep(0.005)
    held, before = slot.slot.gauge, slot.board.read().busy_seconds[0]
    slot.slot.busy_step = time.monotonic_ns()
    slot.slot.gauge = held - (1 << lib.GRD_GAUGE_BITS)
    during = slot.board.read().busy_seconds[0]
    time.sleep(0.005)
    assert before <= during == slot.board.read().busy_seconds[0]
    slot.slot.gauge = held
    slot.end()
    assert slot.busy() / 1e9 >= during + 0.005


def test_no_total_goes_back(fork):
    """Readers in several processes, each of which tells the next what it has read: none says less,
    though requests end, and their owner is killed, at any moment."""
    board = Scoreboard(1)
    board.release(board.claim())
    with Raindrops(1) as most:

        def serve(link, claim):
            held = BoardSlot(board, claim, board.take_over_slot(claim))
            link.say()
            while True:
                held.end(held.begin(), 2)

        def read(link):
            link.say()
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                before = most[0]
                now = round(board.read().busy_seconds[0] * 1e9)
                assert now >= before - 1, (now - before, now)
                if now > most[0]:
                    most[0] = now
                board.reap()

        readers = [fork(read) for _ in range(2)]
        for reader in readers:
            assert reader.link.hear()
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            board.reap()
            child = fork(serve, board.claim())
            assert child.link.hear()
            time.sleep(0.02)
            child.kill()
            child.wait()
        for reader in readers:
            reader.check()
    board.forget_file()


@pytest.mark.once
def test_as_many_requests_as_there_may_be(slot):
    """The count has 20 bits: a hundred thousand at once neither reach the ticks nor are lost."""
    for _ in range(100_000):
        slot.begin()
    slot.busy()
    assert slot.slot.busy % (1 << COUNT) == 100_000
    for _ in range(100_000):
        slot.end()
    assert slot.slot.busy % (1 << COUNT) == 0
    assert slot.busy() == slot.busy()


def test_of_another_boot(tmp_path):
    """Its clock has stopped: what was in flight then ended in the last second of which anything is
    known."""
    file = tmp_path / "board"
    board = Scoreboard(1, str(file))
    claim = board.claim()
    slot = board.take_over_slot(claim)
    BoardSlot(board, claim, slot).begin()
    told = board.read().busy_seconds[0]
    board.header.boot_id = b"another".ljust(40, b"\0")
    board.forget_file()
    again = Scoreboard(1, str(file))
    try:
        (found,) = again.read().busy_seconds
        assert told <= found <= told + 1.1
        assert again.read().busy_seconds == (found,)
        assert again.read().rows == ()
    finally:
        again.forget_file()


def test_of_another_boot_before_its_begin(tmp_path):
    """Where nothing tells when it ended, it ended at once."""
    file = tmp_path / "board"
    board = Scoreboard(1, str(file))
    claim = board.claim()
    slot = board.take_over_slot(claim)
    BoardSlot(board, claim, slot).begin()
    # an uptime of a century: as if its begin were to come
    slot.busy = (slot.busy - ((100 * 365 * 86400 * 10**9 // TICK) << COUNT)) % 2**64
    board.header.boot_id = b"another".ljust(40, b"\0")
    board.forget_file()
    again = Scoreboard(1, str(file))
    try:
        assert 0 <= again.read().busy_seconds[0] < 100 * 365 * 86400
        assert slot.busy % (1 << COUNT) == 0
    finally:
        again.forget_file()
