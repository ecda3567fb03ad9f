"""Freeing what the dead have left, and what a process that was killed while freeing has left."""

import pytest

from gunicorn_raindrops._native._scoreboard import lib
from gunicorn_raindrops.counting.slots import BoardSlot, BoardSlotOfProcess
from gunicorn_raindrops.scoreboard.board import Scoreboard

IN_FLIGHT = (1 << lib.GRD_BUSY_COUNT_BITS) - 1
LEVEL = (1 << lib.GRD_GENERATION_SHIFT) - 1


@pytest.fixture
def board():
    board = Scoreboard(2)
    yield board
    board.forget_file()


def hold(link, board, requests):
    held = BoardSlot(board, claim := board.claim(), board.take_over_slot(claim))
    for _ in range(requests):
        held.begin()
    link.say()
    link.hear()


def dead(board, fork, requests=3):
    """Have a worker die with requests in flight; return its slot."""
    child = fork(hold, board, requests)
    assert child.link.hear()
    child.kill()
    child.wait()
    return board._slots[0]


def test_all_that_a_dead_worker_had_in_flight(board, fork):
    """It leaves gauge, busy seconds and level at once."""
    slot = dead(board, fork)
    assert slot.busy & IN_FLIGHT == 3
    board.reap()
    assert slot.busy & IN_FLIGHT == 0
    assert board.header.marks.level & LEVEL == 0
    assert board.read().busy_seconds == board.read().busy_seconds
    assert board.marks(60).calling == 3
    assert board.claim().slot == 0


def test_one_that_was_killed_in_the_middle_of_it(board, fork):
    """The owner word is free, and nothing else is done: the next who reaps settles busy seconds at
    once, and the level when it has found that twice."""
    slot = dead(board, fork)
    slot.owner &= ~LEVEL
    board.reap()
    assert slot.busy & IN_FLIGHT == 0
    assert board.header.marks.level & LEVEL == 3 << lib.GRD_GAUGE_BITS
    board.reap()
    assert board.header.marks.level & LEVEL == 0


def test_one_that_was_killed_in_the_middle_of_a_step(board, fork):
    """A request that has left the gauge and not yet busy seconds and level leaves those as well."""
    slot = dead(board, fork, requests=2)
    slot.gauge -= 1 << lib.GRD_GAUGE_BITS
    for _ in range(3):
        board.reap()
    assert slot.busy & IN_FLIGHT == 0
    assert board.header.marks.level & LEVEL == 0


@pytest.mark.parametrize("has_arbiter", [True, False])
def test_the_dead_that_readers_do_not_look_at(board, fork, has_arbiter):
    """Somebody has scribbled on the number of slots that were ever used. Where none is free, that
    number is wrong: the slots of the dead are looked for in all of them."""
    for _ in range(board.slots):
        dead(board, fork)
    board.header.used = 0

    def claim(link):
        assert board.claim_or_reap() if has_arbiter else BoardSlotOfProcess(board).find()

    fork(claim).check()
    assert board.header.used == board.slots


def test_the_living_are_left_alone(board, fork):
    """However often it is called, by whomever."""
    child = fork(hold, board, 2)
    assert child.link.hear()
    for _ in range(5):
        board.reap()
    (row,) = board.read().rows
    assert (row.pid, row.calling) == (child.pid, 2)
    child.link.say()
    child.check()


def test_a_slot_that_has_a_new_owner_keeps_it(board, fork):
    """Settling is for the owner that was seen: requests of a later one go on."""
    dead(board, fork)
    board.reap()
    child = fork(hold, board, 2)
    assert child.link.hear()
    slot = board._slots[0]
    lib.grd_settle_free(board._slots, 2)
    assert not lib.grd_free(board.header, board._slots, slot.owner - (1 << 40))
    assert slot.busy & IN_FLIGHT == 2
    assert board.read().rows[0].calling == 2
    child.link.say()
    child.check()
