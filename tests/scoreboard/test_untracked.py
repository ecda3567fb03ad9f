"""Workers without a slot: the gauge does not outlive who holds it."""

import pytest

from gunicorn_raindrops._native._scoreboard import ffi, lib
from gunicorn_raindrops.counting import slots
from gunicorn_raindrops.scoreboard.board import Scoreboard


@pytest.fixture
def board():
    board = Scoreboard(1)
    yield board
    board.forget_file()


def tallies(board):
    """Return how many entries there are, of the living and the dead."""
    return lib.grd_list_untracked(
        board.header, ffi.new("struct grd_slot_record[]", lib.GRD_TALLIES)
    )


def add(link, board, n):
    """Be an arbiter that counts some, until it is told to go."""
    board.add_untracked(n)
    link.say()
    link.hear()


def test_each_process_counts_its_own(board, fork):
    """One that dies takes them along; reading frees nothing."""
    board.add_untracked(2)
    others = [fork(add, board, 3), fork(add, board, 4)]
    for other in others:
        other.link.hear()
    assert board.read().untracked == 9
    others[0].kill()
    others[0].die()
    assert board.read().untracked == 6
    assert tallies(board) == 3
    board.add_untracked(-1)
    assert board.read().untracked == 5
    others[1].link.say()
    others[1].check()
    assert board.read().untracked == 1
    board.add_untracked(-1)
    board.add_untracked(-1)  # never below nothing
    assert (board.read().untracked, tallies(board)) == (0, 2)
    board.reap()
    assert tallies(board) == 0


def test_a_middlewares_process(board, fork):
    """It finds no free slot, and dies."""
    board.claim()

    def serve(link):
        assert slots.BoardSlotOfProcess(board).begin("GET", "/") is None
        link.say()
        link.hear()

    child = fork(serve)
    child.link.hear()
    assert board.read().untracked == 1
    child.kill()
    child.die()
    assert board.read().untracked == 0


def test_more_processes_than_tallies(board):
    """Those beyond them are left out, and those of the dead are used again."""
    process = ffi.new("struct grd_owner *")
    process.namespace = lib.grd_pid_namespace()
    for i in range(lib.GRD_TALLIES):
        process.who = lib.grd_who(2**22 - 1 - i, 1)  # beyond pid_max
        assert lib.grd_add_untracked(board.header, process, 1)
    assert not lib.grd_add_untracked(board.header, ffi.new("struct grd_owner *", {"who": 1}), 1)
    assert board.read().untracked == 0
    board.add_untracked(1)
    assert board.read().untracked == 1
    assert tallies(board) == 1


def test_a_process_of_another_namespace(board):
    """Its pid says nothing here: it counts as alive."""
    process = ffi.new("struct grd_owner *")
    process.who, process.namespace = lib.grd_who(2**22 - 1, 1), lib.grd_pid_namespace() + 1
    lib.grd_add_untracked(board.header, process, 2)
    assert board.read().untracked == 2
    board.reap()
    assert board.read().untracked == 2
