"""The arbiter's table of claims: who has which slot, also when a signal handler comes between."""

import os
import sys

import pytest

from gunicorn_raindrops.scoreboard import exits
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.claims import Claims

END = (1, exits.KILLED)


@pytest.fixture
def board():
    board = Scoreboard(2)
    yield board
    board.forget_file()


@pytest.fixture
def claims(board):
    return Claims(board)


def nobody(worker):
    return None


def used(board):
    return [row.slot for row in board.read().rows]


def test_a_slot_each(board, claims):
    """Each worker has one, and it is free again when the worker is released."""
    assert claims.claim("a")
    assert claims.claim("b")
    assert claims.workers() == ["a", "b"]
    assert used(board) == [0, 1]
    claims.release("a", END, nobody)
    assert claims.workers() == ["b"]
    assert used(board) == [1]


def test_released_twice(board, claims):
    """The second time, and a worker that was never there, are no error and change nothing."""
    claims.claim("a")
    assert claims.release("a", END, nobody).pid == 1
    assert claims.release("a", END, nobody) is None
    claims.release("stranger", END, nobody)
    assert (used(board), board.read().untracked) == ([], 0)


def test_no_slot_is_free(board, claims):
    """The worker counts as untracked until it is gone."""
    assert [claims.claim(worker) for worker in "abc"] == [True, True, False]
    assert board.read().untracked == 1
    assert claims.workers() == ["a", "b", "c"]
    for _ in range(2):
        claims.release("c", END, nobody)
        assert board.read().untracked == 0
    assert used(board) == [0, 1]


def test_the_first_that_waits_gets_the_slot(board, claims):
    """Of those that have a pid: one that is being forked cannot find its slot yet."""
    for worker in "abcde":
        claims.claim(worker)
    assert board.read().untracked == 3
    claims.release("a", END, {"d": os.getpid(), "e": os.getpid()}.get)
    assert board.read().untracked == 2
    assert used(board) == [0, 1]
    assert sorted(claims.workers()) == ["b", "c", "d", "e"]
    claims.release("d", END, {"e": os.getpid()}.get)
    assert board.read().untracked == 1
    claims.release("c", END, nobody)
    assert board.read().untracked == 0


def test_another_arbiter_is_quicker(board, claims):
    """The worker waits on."""
    for worker in "abc":
        claims.claim(worker)
    other = Claims(board)

    def pid_of(worker):
        if worker == "c":
            other.claim("theirs")
        return os.getpid()

    claims.release("a", END, pid_of)
    assert board.read().untracked == 1
    other.release("theirs", END, nobody)
    claims.release("b", END, {"c": os.getpid()}.get)
    assert board.read().untracked == 0
    assert used(board) == [0]


def test_in_the_worker(board, claims):
    """It takes its own claim along, and no other."""
    for worker in "abc":
        claims.claim(worker)
    assert claims.take("b").slot == 1
    assert claims.workers() == []
    assert claims.take("c") is None


def step_by_step(call, handler):
    """Make a call, with a handler run between each two of its bytecodes, as a signal's may: one
    call for each such place. Yields after each."""
    place = 0
    while True:
        seen = -1

        def trace(frame, event, arg, place=place):
            nonlocal seen
            frame.f_trace_opcodes = frame.f_code.co_filename.endswith("claims.py")
            if event == "opcode":
                seen += 1
                if seen == place:
                    sys.settrace(None)
                    handler()
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(before)
        yield
        if seen < place:  # there were fewer
            return
        place += 1


@pytest.mark.parametrize("handled", ["a", "b", "c", "d"])
@pytest.mark.parametrize("call", ["release", "claim", "workers"])
def test_a_signal_handler_between_any_two_steps(call, handled):
    """Before gunicorn 24 child_exit is one: whoever it releases, also the worker that is being
    released, or seated, or another that waits. Then the next pre_fork releases who is gone. In
    the end nobody has a slot, and nobody is untracked."""
    board, pids, places = Scoreboard(2), {"c": os.getpid(), "d": os.getpid()}, 0
    claims = Claims(board)

    def begin():
        for worker in "abcd":
            claims.claim(worker)

    def act():
        if call == "release":
            claims.release("a", END, pids.get)
        elif call == "claim":
            claims.claim("e")
        else:
            claims.workers()

    begin()
    for _ in step_by_step(act, lambda: claims.release(handled, END, pids.get)):
        places += 1
        for _ in range(2):  # what a handler has freed may have been claimed for one that waits
            for worker in claims.workers():
                claims.release(worker, END, nobody)
        assert (used(board), board.read().untracked) == ([], 0)
        begin()
    # 3.12 traces no opcodes in a function's first call
    assert places > 3 or sys.version_info[:2] == (3, 12)
    board.forget_file()
