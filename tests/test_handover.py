"""What one arbiter leaves to the next: taken over as it was left, and nothing else."""

import json
import os
import socket

import pytest

from gunicorn_raindrops import Struct
from gunicorn_raindrops.handover import INHERITED, Inherited, hand_over
from gunicorn_raindrops.scoreboard.app_counters import UserCounters
from gunicorn_raindrops.scoreboard.board import Scoreboard

BIND = "127.0.0.1:9180"
KEPT = {"file": None, "max_workers": 3}


class Stats(Struct):
    """The user's counters."""

    orders: int


class Others(Struct):
    """Those of a conf that has changed."""

    orders: int
    refunds: int


@pytest.fixture
def board():
    board = Scoreboard(3)
    yield board
    board.forget_file()


def as_child(fork, left, part):
    """Run `part(environ)` as the process does that an arbiter executes: its parent has left the
    variables, which name their descriptors."""

    def child(link):
        environ = left()
        os.environ.update(environ)
        part(dict(environ))

    fork(child).check()


def test_the_scoreboard_goes_on(fork, board):
    """The next arbiter has the same memory, and knows with which settings it was made. The
    variable is gone, and the descriptor is not inherited any further."""
    board.add_untracked(5)

    def part(environ):
        inherited = Inherited(environ)
        assert environ == {}
        found = inherited.board()
        assert (found.slots, found.read().untracked) == (3, 5)
        assert inherited.kept() == KEPT
        assert not os.get_inheritable(found.fileno())

    as_child(fork, lambda: hand_over(board, KEPT), part)


def test_descriptors_stay_open(fork, board):
    """They are inheritable in the process that is about to execute the next arbiter, and only
    there."""

    def part(environ):
        assert os.get_inheritable(board.fileno())

    as_child(fork, lambda: hand_over(board, KEPT), part)
    assert not os.get_inheritable(board.fileno())


@pytest.mark.parametrize("bind", [BIND, "127.0.0.1:9181"])
def test_the_status_listener(fork, board, bind):
    """It goes on where the setting is the same, and is closed where it is not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def part(environ):
            inherited = Inherited(environ)
            inherited.board()
            found = inherited.listener(bind)
            if bind == BIND:
                assert found.getsockname() == listener.getsockname()
            else:
                assert found is None
                with pytest.raises(OSError):
                    os.fstat(listener.fileno())
                listener.detach()

        as_child(fork, lambda: hand_over(board, KEPT, listener=listener, bind=BIND), part)


@pytest.mark.parametrize("struct", [Stats, Others])
def test_the_users_counters(fork, board, struct):
    """They go on with their values where their shape is the same, and begin anew where not."""
    stats = Stats(orders=7)

    def part(environ):
        inherited = Inherited(environ)
        inherited.board()
        after = struct()
        inherited.counters(UserCounters(after, 3))
        assert after.orders == (7 if struct is Stats else 0)

    as_child(fork, lambda: hand_over(board, KEPT, counters=UserCounters(stats, 3)), part)
    stats.close()


def test_nothing_was_left():
    """As at an ordinary start."""
    inherited = Inherited({})
    assert inherited.board() is None
    assert inherited.kept() == {}
    assert inherited.listener(BIND) is None
    stats = Stats()
    inherited.counters(UserCounters(stats, 3))
    stats.close()


@pytest.mark.parametrize(
    "value",
    ["", "no json", "[]", "7", "{}", '{"pid": null}', '{"pid": %d}', '{"pid": %d, "board": 3}',
     '{"pid": %d, "board": [-1, 2], "kept": 3}', '{"pid": %d, "board": ["a", 2], "kept": [1]}'],
)  # fmt: skip
def test_a_variable_that_means_nothing(value):
    """Nothing is taken over from it, and nothing raised."""
    inherited = Inherited({INHERITED: value.replace("%d", str(os.getppid()))})
    assert inherited.kept() == {}
    assert inherited.board() is None
    assert inherited.listener(BIND) is None


def edited(environ, **changes):
    return {INHERITED: json.dumps({**json.loads(environ[INHERITED]), **changes})}


def test_a_variable_that_is_not_our_parents(fork, board):
    """The environment outlives its meaning: the numbers are other descriptors by now."""

    def part(environ):
        assert Inherited(edited(environ, pid=os.getpid())).board() is None

    as_child(fork, lambda: hand_over(board, KEPT), part)


@pytest.mark.parametrize("what", ["inode", "kind", "closed"])
def test_a_descriptor_that_is_something_else(fork, board, what):
    """It is not touched, and nothing that belongs to the scoreboard is taken over without it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def part(environ):
        fd, inode = json.loads(environ[INHERITED])["board"]
        other = {
            "inode": (fd, inode + 1),
            "kind": (listener.fileno(), os.fstat(listener.fileno()).st_ino),
            "closed": (os.sysconf("SC_OPEN_MAX"), inode),
        }[what]
        inherited = Inherited(edited(environ, board=other))
        assert inherited.board() is None
        assert inherited.kept() == {}
        assert inherited.listener(BIND) is None
        assert os.get_inheritable(fd)
        os.fstat(listener.fileno())

    as_child(fork, lambda: hand_over(board, KEPT, listener=listener, bind=BIND), part)
    listener.close()
