"""Workers without a slot, and workers wanted: neither gauge outlives who holds it."""

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
    records = ffi.new("struct grd_slot_record[]", lib.GRD_TALLIES)
    return lib.grd_tally_list(board.header.untracked, lib.GRD_TALLIES, records)


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
        assert lib.grd_tally_add(board.header.untracked, lib.GRD_TALLIES, process, 1)
    other = ffi.new("struct grd_owner *", {"who": 1})
    assert not lib.grd_tally_add(board.header.untracked, lib.GRD_TALLIES, other, 1)
    assert board.read().untracked == 0
    board.add_untracked(1)
    assert board.read().untracked == 1
    assert tallies(board) == 1


def test_a_process_of_another_namespace(board):
    """Its pid says nothing here: it counts as alive."""
    process = ffi.new("struct grd_owner *")
    process.who, process.namespace = lib.grd_who(2**22 - 1, 1), lib.grd_pid_namespace() + 1
    lib.grd_tally_add(board.header.untracked, lib.GRD_TALLIES, process, 2)
    assert board.read().untracked == 2
    board.reap()
    assert board.read().untracked == 2


def want(link, board, n):
    """Be an arbiter that wants some workers, until it is told to go."""
    board.want(n)
    link.say()
    link.hear()


def test_each_arbiter_wants_its_own(board, fork):
    """The last number counts, 0 is one as well, and a dead arbiter wants nothing."""
    assert board.read().workers_wanted is None
    for n in (3, 7, 0):
        board.want(n)
        assert board.read().workers_wanted == n
    other = fork(want, board, 4)
    other.link.hear()
    board.want(2)
    assert board.read().workers_wanted == 6
    other.kill()
    other.die()
    assert board.read().workers_wanted == 2


def test_more_arbiters_than_room(board, fork):
    """The dead make room."""
    for _ in range(lib.GRD_WANTS):
        gone = fork(want, board, 1)
        gone.link.hear()
        gone.kill()
        gone.die()
    board.want(5)
    assert board.read().workers_wanted == 5


def test_a_scribbled_number(board):
    """A living arbiter's entry never says 0: nothing is wanted then, not one less."""
    board.want(3)
    board.header.wanted[0].word &= (1 << lib.GRD_GENERATION_SHIFT) - 1
    assert board.read().workers_wanted == 0
