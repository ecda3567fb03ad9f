"""Why workers ended: each end once, whoever comes first to count it."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunicorn_raindrops._native._scoreboard import lib
from gunicorn_raindrops.counting import slots
from gunicorn_raindrops.scoreboard import board as scoreboard
from gunicorn_raindrops.scoreboard import exits
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.exits import CAUSES
from gunicorn_raindrops.scoreboard.records import KillRecord, RequestRecord


@pytest.fixture
def board():
    board = Scoreboard(2)
    yield board
    board.forget_file()


def counted(board):
    """Return the exits that are not 0."""
    return {cause: n for cause, n in board.read().exits.items() if n}


@given(st.lists(st.tuples(st.sampled_from(["exit", "record_kill"]), st.sampled_from(list(CAUSES)))))
def test_the_first_to_count_an_end_has_it(attempts):
    """A worker and its arbiters may all count an end, any number of times: it is one."""
    board = Scoreboard(1)
    try:
        claim = board.claim()
        board.take_over_slot(claim)
        for by, cause in attempts:
            if by == "exit":
                board.exit(claim, cause)
            else:
                board.record_kill(claim, 1, cause)
        board.release(claim)
        board.record_kill(claim, 1, exits.TIMEOUT)
        expected = attempts[0][1] if attempts else exits.TIMEOUT
        assert counted(board) == {expected: 1}
    finally:
        board.forget_file()


def test_an_end_that_was_reaped_first(board):
    """A dead worker's slot may be freed by another process than its arbiter. The next process that
    claims it counts the end, and the arbiter that waits for the worker does no more."""
    claim = board.claim()
    board.take_over_slot(claim)
    board.release(claim)
    assert counted(board) == {}
    later = board.claim()
    assert later.slot == claim.slot
    assert counted(board) == {exits.KILLED: 1}
    assert board.record_kill(claim, 1, exits.TIMEOUT) is None
    assert counted(board) == {exits.KILLED: 1}
    assert board.record_kill(later, 2, exits.KILLED) is not None
    assert counted(board) == {exits.KILLED: 2}


def test_a_claim_that_nobody_took(board):
    """It was never a worker: given back, its slot's next owner has no end to count."""
    for _ in range(3):
        board.release(board.claim())
    assert counted(board) == {}


def test_a_worker_that_died_before_it_took_its_slot(board):
    """It was in nothing: what still stands there was its predecessor's."""
    claim = board.claim()
    place = slots.BoardSlot(board, claim, board.take_over_slot(claim, age=3, capacity=9))
    place.begin("GET", "/before")
    board.record_kill(claim, 1, exits.KILLED)
    board.release(claim)
    late = board.claim()
    (row,) = board.read().rows
    assert (row.state, row.age, row.capacity) == (scoreboard.CLAIMED, 0, 0)
    assert (row.current, row.busy_seconds, row.requests) == (None, 0, 0)
    killed = board.record_kill(late, 2, exits.KILLED)
    assert (killed.pid, killed.age, killed.in_flight, killed.current) == (2, 0, 0, None)


def test_the_last_few_are_kept(board):
    """The latest first, with what each was in; older ones make room."""
    for number in range(2 * lib.GRD_KILLS_KEPT + 3):
        claim = board.claim()
        place = slots.BoardSlot(board, claim, board.take_over_slot(claim, age=number))
        place.begin("GET", f"/{number}")
        board.record_kill(claim, 1000 + number, exits.KILLED)
        board.release(claim)
    kept = board.read().killed
    numbers = list(range(number, number - lib.GRD_KILLS_KEPT, -1))
    assert [one.age for one in kept] == numbers
    assert [one.pid for one in kept] == [1000 + n for n in numbers]
    assert [one.current.path for one in kept] == [f"/{n}" for n in numbers]
    assert {one.in_flight for one in kept} == {1}


def test_one_that_is_being_written_is_not_shown(board):
    """Nor one that an arbiter was killed in."""
    for _ in range(2):
        claim = board.claim()
        board.take_over_slot(claim)
        board.record_kill(claim, 1, exits.KILLED)
        board.release(claim)
    board.header.killed[2].turn = 0
    assert len(board.read().killed) == 1


@pytest.mark.parametrize("cause", [99, 2**32 - 1])
def test_a_scribbled_cause(board, cause):
    """It is read as what needs no explanation."""
    claim = board.claim()
    board.take_over_slot(claim)
    board.record_kill(claim, 1, exits.TIMEOUT)
    board.header.killed[1].cause = cause
    assert board.read().killed[0].cause == exits.KILLED


LINES = [
    ((exits.TIMEOUT, None, 0), "worker (pid:7) was killed by the timeout, idle"),
    ((exits.KILLED, None, 0), "worker (pid:7) was killed, idle"),
    (
        (exits.TIMEOUT, RequestRecord("GET", "/a", 2.04), 1),
        "worker (pid:7) was killed by the timeout in 'GET /a', 2.0 s after its begin",
    ),
    (
        (exits.KILLED, RequestRecord("GET", "/\n\x1b[2J\u00e9'", 1.0), 3),
        'worker (pid:7) was killed in "GET /\\n\\x1b[2J\\xe9\'", 1.0 s after its begin, '
        "the oldest of 3 requests",
    ),
]


@pytest.mark.parametrize(("what", "line"), LINES)
def test_the_line_of_the_log(what, line):
    """A path is a stranger's, and may not write to the log as it likes."""
    cause, current, in_flight = what
    killed = KillRecord(0.0, 0, 7, 1, cause, in_flight, current)
    assert exits.describe(killed) == line


@pytest.mark.skipif(sys.platform != "linux", reason="start times are Linux's")
def test_the_end_of_one_killed_in_a_request(board, fork):
    """What it was in is known also after a reader has freed its slot."""

    def work(link, claim):
        place = slots.BoardSlot(board, claim, board.take_over_slot(claim))
        place.begin("POST", "/killed")
        link.say()
        link.hear()

    claim = board.claim()
    child = fork(work, claim)
    assert child.link.hear()
    child.kill()
    child.wait()
    assert board.read().rows == ()
    killed = board.record_kill(claim, child.pid, exits.KILLED)
    assert (killed.pid, killed.current.method, killed.current.path) == (
        child.pid, "POST", "/killed"
    )  # fmt: skip
    assert board.read().killed == (killed,)
