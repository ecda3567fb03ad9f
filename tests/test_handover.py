"""What one arbiter leaves to the next: taken over as it was left, and nothing else."""

import contextlib
import json
import os
import socket
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunicorn_raindrops import Struct
from gunicorn_raindrops.handover import INHERITED, Inherited, hand_over
from gunicorn_raindrops.scoreboard.app_counters import UserCounters
from gunicorn_raindrops.scoreboard.board import Scoreboard

from .conftest import descriptors

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


def opened(sock):
    """Return as much of a status listener as is handed over."""
    return SimpleNamespace(sock=sock, bind=BIND, file=None)


def test_the_scoreboard_goes_on(fork, board):
    """The next arbiter has the same memory, and knows with which settings it was made. The
    variable is gone, and the descriptor is not inherited any further."""
    board.add_untracked(5)

    def part(environ):
        inherited = Inherited(environ, pytest.fail)
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
            inherited = Inherited(environ, pytest.fail)
            inherited.board()
            found = inherited.listener(bind)
            if bind == BIND:
                assert found.getsockname() == listener.getsockname()
            else:
                assert found is None
                with pytest.raises(OSError):
                    os.fstat(listener.fileno())
                listener.detach()

        as_child(fork, lambda: hand_over(board, KEPT, listener=opened(listener)), part)


@pytest.mark.parametrize("struct", [Stats, Others])
def test_the_users_counters(fork, board, struct):
    """They go on with their values where their shape is the same, and begin anew where not."""
    stats = Stats(orders=7)

    def part(environ):
        inherited = Inherited(environ, pytest.fail)
        inherited.board()
        after = struct()
        inherited.counters(UserCounters(after, 3))
        assert after.orders == (7 if struct is Stats else 0)

    as_child(fork, lambda: hand_over(board, KEPT, counters=UserCounters(stats, 3)), part)
    stats.close()


def test_nothing_was_left():
    """As at an ordinary start."""
    inherited = Inherited({}, pytest.fail)
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
    """Nothing is taken over from it, and nothing raised; there is one warning."""
    warnings = []
    value = value.replace("%d", str(os.getppid()))
    inherited = Inherited({INHERITED: value}, warnings.append)
    assert inherited.kept() == {}
    assert inherited.board() is None
    assert inherited.listener(BIND) is None
    assert len(warnings) == 1
    assert INHERITED in warnings[0]


NUMBERS = st.one_of(
    st.integers(), st.integers(0, 64), st.floats(), st.sampled_from([2**31, 2**63, 2**64, 10**400])
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = ["pid", "kept", "board", "status", "bind", "file", "counters", "shape"]


def taken(variable, stats):
    """Take over all that a variable says, as an arbiter does; return the warnings."""
    warnings = []
    inherited = Inherited({INHERITED: variable}, warnings.append)
    inherited.board()
    assert type(inherited.kept()) is dict
    inherited.counters(UserCounters(stats, 3))
    inherited.listener(BIND)
    inherited.file()
    return warnings


@pytest.mark.once
@given(
    changes=st.dictionaries(st.sampled_from(FIELDS), ANYTHING),
    missing=st.sets(st.sampled_from(FIELDS)),
    extra=st.dictionaries(st.text(max_size=5), ANYTHING, max_size=2),
)
@settings(deadline=None, max_examples=100)
def test_whatever_a_variable_says(changes, missing, extra):
    """It is one warning at most, and never an exception. Descriptors that it does not name with
    their inodes stay open."""
    before = descriptors()
    file = os.memfd_create("kept")
    named = [file, os.fstat(file).st_ino]
    left = {"pid": os.getppid(), "kept": KEPT, "board": named, "status": named, "bind": BIND}
    left |= {"counters": [named], "shape": [], **extra, **changes}
    left = {name: value for name, value in left.items() if name not in missing}
    with Stats() as stats:
        warnings = taken(json.dumps(left), stats)
    assert len(warnings) <= 1
    if set(changes) & {"board", "status"} and not missing and left["pid"] == os.getppid():
        assert len(warnings) == 1
    with contextlib.suppress(OSError):
        os.close(file)
    assert descriptors() == before


@pytest.mark.parametrize(
    "variable",
    ["[" * 100_000, '{"pid":' * 100_000, "1" * 100_000, "NaN", "\udcff", '{"pid": 1e999}', "\0"],
    ids=range(7),
)
def test_a_variable_that_json_does_not_like(variable):
    """The same."""
    with Stats() as stats:
        assert len(taken(variable, stats)) == 1


def test_a_scoreboard_that_cannot_be_used(fork):
    """As one of another version: what came with it is closed, for an address that we listen on
    cannot be listened on again."""

    def part(environ):
        warnings = []
        inherited = Inherited(environ, warnings.append)
        assert inherited.board() is None
        assert inherited.listener(BIND) is None
        left = json.loads(environ_left[0])
        for fd, _ in (left["board"], left["status"], *left["counters"]):
            with pytest.raises(OSError):
                os.fstat(fd)
        assert len(warnings) == 1

    environ_left = []
    listener = socket.create_server(("127.0.0.1", 0))
    stats = Stats()

    def left():
        fd = os.memfd_create("foreign")
        foreign = SimpleNamespace(fileno=lambda: fd)
        counters = UserCounters(stats, 3)
        environ = hand_over(foreign, KEPT, listener=opened(listener), counters=counters)
        environ_left.append(environ[INHERITED])
        return environ

    as_child(fork, left, part)
    listener.close()
    stats.close()


def edited(environ, **changes):
    return {INHERITED: json.dumps({**json.loads(environ[INHERITED]), **changes})}


def test_a_variable_that_is_not_our_parents(fork, board):
    """The environment outlives its meaning: the numbers are other descriptors by now."""

    def part(environ):
        assert Inherited(edited(environ, pid=os.getpid()), pytest.fail).board() is None

    as_child(fork, lambda: hand_over(board, KEPT), part)


@pytest.mark.parametrize("what", ["inode", "kind", "closed"])
def test_a_descriptor_that_is_something_else(fork, board, what):
    """It is not touched, and nothing that belongs to the scoreboard is taken over without it. There
    is one warning."""
    listener = socket.create_server(("127.0.0.1", 0))

    def part(environ):
        fd, inode = json.loads(environ[INHERITED])["board"]
        other = {
            "inode": (fd, inode + 1),
            "kind": (listener.fileno(), os.fstat(listener.fileno()).st_ino),
            "closed": (os.sysconf("SC_OPEN_MAX"), inode),
        }[what]
        warnings = []
        inherited = Inherited(edited(environ, board=other), warnings.append)
        assert inherited.board() is None
        assert inherited.kept() == {}
        assert inherited.listener(BIND) is None
        assert len(warnings) == 1
        assert os.get_inheritable(fd)
        if what == "kind":  # it is not known which of the two it is
            os.fstat(listener.fileno())
        else:
            with pytest.raises(OSError):
                os.fstat(listener.fileno())
            listener.detach()

    as_child(fork, lambda: hand_over(board, KEPT, listener=opened(listener)), part)
    listener.close()
