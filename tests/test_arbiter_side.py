"""What the arbiter holds: scoreboard, claims, status listener, and what a HUP changes of them."""

import os
import socket
from pathlib import Path

import pytest

from gunicorn_raindrops import Struct, WorkerGauge, arbiter_side
from gunicorn_raindrops._native._scoreboard import lib
from gunicorn_raindrops.arbiter_side import ArbiterSide
from gunicorn_raindrops.counting.slots import BoardSlot
from gunicorn_raindrops.listeners.tcp_info import defer_accept
from gunicorn_raindrops.scoreboard import exits
from gunicorn_raindrops.settings import load
from gunicorn_raindrops.snapshot import Arbiter

from .ports import free_port


class Stats(Struct):
    """The user's counters."""

    orders: int
    queue: WorkerGauge


class Others(Struct):
    """Those of a conf that has changed."""

    refunds: int


class Started:
    """An arbiter's side, and the lines that it wrote."""

    def __init__(self):
        self.warned, self.told, self.said, self.sides = [], [], [], []

    def __call__(self, environ=None, **keywords):
        """Start one more."""
        settings = load({"bind": "", "max_workers": 2, **keywords}, {})
        side = ArbiterSide.start(
            settings, self.warned.append, self.told.append, self.info, environ or {}
        )
        self.sides.append(side)
        return side

    def info(self, form, *args):
        self.said.append(form % args)


@pytest.fixture
def start():
    started = Started()
    yield started
    for side in started.sides:
        side.stop(alone=True)
        if side._board is not None:
            side._board.forget_file()
    started.sides.clear()


def alive(worker):
    return None


def reading(side):
    return side._board.read()


# The scoreboard.


def test_it_is_there_from_the_start(start):
    """With as many slots as workers are allowed; nothing is listened on yet."""
    side = start(bind="127.0.0.1:0")
    assert reading(side).slots == 2
    assert (start.warned, start.said) == ([], [])


def test_another_servers_file(start, tmp_path):
    """It is warned of, and counting goes on in memory."""
    file = str(tmp_path / "board")
    start(file=file)
    side = start(file=file)
    assert start.warned == [f"file: {file} is another server's; counting in memory only"]
    assert reading(side).slots == 2


def test_a_file_that_holds_something_else(start, tmp_path):
    """The same."""
    file = tmp_path / "board"
    file.write_bytes(b"x" * 10000)
    side = start(file=str(file))
    (line,) = start.warned
    assert line.startswith("file: ")
    assert line.endswith("; counting in memory only")
    assert reading(side).slots == 2


def test_no_shared_memory(start, monkeypatch):
    """It is warned of. Whatever the hooks ask then, nothing is counted and nothing raised."""

    def broken(slots):
        raise OSError("none left")

    monkeypatch.setattr(arbiter_side, "Scoreboard", broken)
    side = start(counters=Stats())
    assert start.warned == ["no shared memory, nothing is counted: none left"]
    side.open()
    side.try_listeners(Arbiter(1, None, "0", "sync", 0.0), [])
    side.claim("a", alive)
    assert not side.worker_side("a").take_over(1, 1)
    side.release("a", (1, exits.KILLED))
    assert side.hand_over() == {}
    reloaded(side, bind="127.0.0.1:0", counters=side.settings.counters)
    assert side._address.listener is None
    assert len(start.warned) == 1


def test_a_file_that_is_cut_short(start, tmp_path):
    """The next worker gets a slot in another scoreboard; the earlier ones have none there."""
    file = tmp_path / "board"
    side = start(file=str(file))
    side.claim("a", alive)
    lost = side._board
    os.truncate(file, 0)
    with pytest.raises(OSError, match="cut short"):
        lost.read()
    side.claim("b", alive)
    assert start.warned == [f"file: {file} was cut short while in use; counting in memory"]
    assert [row.slot for row in reading(side).rows] == [0]
    side.release("a", (1, exits.KILLED))
    assert [row.slot for row in reading(side).rows] == [0]
    side.release("b", (1, exits.KILLED))
    assert reading(side).rows == ()
    lost.forget_file()


def test_a_file_that_is_found_cut_short_at_a_hup(start, tmp_path):
    """The listeners are tried with another scoreboard then."""
    file = tmp_path / "board"
    side = start(file=str(file))
    lost = side._board
    os.truncate(file, 0)
    reloaded(side, file=str(file))
    side.try_listeners(Arbiter(1, None, "0", "sync", 0.0), [])
    assert start.warned == [f"file: {file} was cut short while in use; counting in memory"]
    assert reading(side).rows == ()
    assert lost.fileno() == -1  # workers to come would have it


# The workers.


def test_a_worker_that_went_without_child_exit(start):
    """It is released when the next one is forked."""
    side = start()
    side.claim("a", alive)
    side.claim("b", lambda worker: (1, exits.KILLED) if worker == "a" else None)
    assert [row.slot for row in reading(side).rows] == [0]


def test_more_workers_than_slots(start):
    """They are warned of and counted as untracked."""
    side = start()
    for worker in "abc":
        side.claim(worker, alive)
    assert start.warned == [
        "max_workers: all 2 slots are taken; workers beyond them serve, but are not counted"
    ]
    assert reading(side).untracked == 1


def test_one_that_was_killed_in_a_request(start):
    """What it was in is told, not when it is released, which may be in a signal handler, but when
    the next worker is forked, or at the end."""
    side = start()
    for worker in "ab":
        side.claim(worker, alive)
    for worker in "ab":
        claim = side._claims._claims[worker]
        slot = BoardSlot(side._board, claim, side._board.take_over_slot(claim))
        if worker == "a":
            slot.begin("GET", "/slow")
        side.release(worker, (7, exits.TIMEOUT))
        assert start.told == []
    side.claim("c", alive)
    (line,) = start.told
    assert line.startswith("worker (pid:7) was killed by the timeout in 'GET /slow'")
    side.later("child_exit failed")
    assert start.warned == []
    side.stop(alone=False)
    assert start.warned == ["child_exit failed"]


# The status address.


@pytest.mark.parametrize("looked", [True, False])
def test_whose_stacks_are_told(start, looked):
    """Those of the request that a worker was killed in, not those of one before it."""
    side = start()
    side.claim("a", alive)
    claim = side._claims._claims["a"]
    slot = BoardSlot(side._board, claim, side._board.take_over_slot(claim))
    side._stacks.keep(claim.slot, "the stack")
    ticket = slot.begin("GET", "/")
    if looked:
        slot.say_where(ticket, "/app.py:1 in f")
    side.release("a", (7, exits.TIMEOUT))
    side.stop(alone=False)
    assert ["the stack" in line for line in start.told] == [looked]


def connects(address):
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        return client.connect_ex(address) == 0


def port_of(side):
    return side._address.listener.sock.getsockname()


def test_opening(start):
    """It says where the status is."""
    side = start(bind="127.0.0.1:0")
    side.open()
    assert connects(port_of(side))
    assert start.said == [
        f"gunicorn-raindrops: status at http://127.0.0.1:{port_of(side)[1]}/_raindrops"
    ]


def test_a_unix_socket(start, tmp_path):
    """It is removed with the last generation, and only then."""
    path = str(tmp_path / "status")
    side = start(bind=f"unix:{path}")
    side.open()
    assert start.said == [f"gunicorn-raindrops: status at unix:{path}, path /_raindrops"]
    side.stop(alone=False)
    assert connects(path)
    side.stop(alone=True)
    assert not Path(path).exists()


def test_a_taken_address(start):
    """It is warned of; a HUP tries again."""
    with socket.create_server(("127.0.0.1", free_port())) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        side = start(bind=bind)
        side.open()
    (line,) = start.warned
    assert line.startswith(f"bind: {bind} cannot be listened on: ")
    assert "`gunicorn-raindrops status` shows other servers, `ss -ltnxp` who listens" in line
    side.reload(side.settings, alone=True)
    assert connects(port_of(side))


@pytest.mark.parametrize("token", [None, "secret"])
def test_an_address_of_all_the_world(start, token):
    """Without a token it is warned of."""
    side = start(bind="0.0.0.0:0", **({"token": token} if token else {}))
    side.open()
    expected = "bind: 0.0.0.0:0 can be reached from other machines; set a token"
    assert start.warned == ([] if token else [expected])


# A HUP.


def reloaded(side, alone=True, **keywords):
    side.reload(load({"bind": "", "max_workers": 2, **keywords}, {}), alone=alone)


@pytest.mark.parametrize("alone", [True, False])
def test_moving(start, alone, tmp_path):
    """The new address is listened on; the old one no more, unless another generation is there."""
    old, new = (str(tmp_path / name) for name in ("old", "new"))
    side = start(bind=f"unix:{old}")
    side.open()
    before = side._address.listener
    reloaded(side, alone, bind=f"unix:{new}")
    assert connects(new)
    assert connects(old) is not alone
    before.close()


def test_moving_to_nowhere(start, tmp_path):
    """No address: nothing is listened on."""
    path = tmp_path / "status"
    side = start(bind=f"unix:{path}")
    side.open()
    reloaded(side)
    assert side._address.listener is None
    assert not path.exists()


def test_moving_to_where_nobody_can(start, tmp_path):
    """The old address is listened on still, and is the one that a later HUP starts from."""
    old, new = str(tmp_path / "old"), str(tmp_path / "none" / "new")
    side = start(bind=f"unix:{old}")
    side.open()
    reloaded(side, bind=f"unix:{new}")
    assert len(start.warned) == 1
    assert connects(old)
    assert side.settings.bind == f"unix:{old}"


def test_the_same_port_on_another_address(start):
    """The two cannot be listened on at once: the old one goes first."""
    port = free_port()
    side = start(bind=f"127.0.0.1:{port}")
    side.open()
    reloaded(side, bind=f"0.0.0.0:{port}", token="secret")
    assert port_of(side) == ("0.0.0.0", port)
    assert start.warned == []


def test_settings_that_the_scoreboard_was_made_with(start, tmp_path):
    """They are warned of, and stay."""
    side = start()
    reloaded(side, max_workers=9, file=str(tmp_path / "board"))
    changes = "changes at the next start only, not by HUP or USR2"
    assert start.warned == [f"file {changes}", f"max_workers {changes}"]
    assert reading(side).slots == 2


@pytest.mark.parametrize("struct", [Stats, Others])
def test_other_counters(start, struct):
    """They go on from the earlier ones where their shape is the same."""
    before = Stats(orders=7)
    side = start(counters=before)
    after = struct()
    reloaded(side, counters=after)
    assert list(after) == ([7, 0] if struct is Stats else [0])
    before.close()
    after.close()


# In a worker, and in the next arbiter.


def test_what_a_worker_gets(start, fork):
    """The slot that was claimed for it, and the settings of its fork."""
    side = start()
    side.claim("a", alive)
    side.claim("b", alive)

    def work(link):
        mine = side.worker_side("b")
        assert (mine.settings, mine.started) == (side.settings, side.started)
        assert mine.take_over(1, 1)
        assert [row.slot for row in side._board.read().rows if row.pid == os.getpid()] == [1]

    fork(work).check()


def test_an_upgrade(start, fork, tmp_path):
    """The next arbiter has this one's scoreboard, listener and counters, and is told of settings
    that cannot change with it."""
    stats = Stats(orders=7)
    side = start(bind="127.0.0.1:0", counters=stats)
    side.open()
    side.claim("a", alive)

    def child(link):
        environ = side.hand_over()
        after = Stats()
        other = start(environ, bind="127.0.0.1:0", counters=after, max_workers=9)
        assert environ == {}
        assert port_of(other) == port_of(side)
        assert [row.slot for row in reading(other).rows] == [0]
        assert after.orders == 7
        assert start.warned == ["max_workers changes at the next start only, not by HUP or USR2"]

    lib.grd_share_with_child(True)
    one = fork(child)
    lib.grd_share_with_child(False)
    one.check()
    stats.close()


# The application's listeners.


def deferring(sock):
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT)


@pytest.mark.skipif(not hasattr(socket, "TCP_DEFER_ACCEPT"), reason="it is Linux's")
def test_deferring_accept(start):
    """As the setting says; what somebody else has set stays while ours is off."""
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.socket(socket.AF_UNIX) as unix:
        defer_accept([sock, unix], True)
        assert deferring(sock)
        side = start()
        side.defer_accept([sock, unix])
        assert deferring(sock)
        reloaded(side, defer_accept=True)
        side.defer_accept([sock, unix])
        assert deferring(sock)
        reloaded(side)
        side.defer_accept([sock, unix])
        assert not deferring(sock)


def test_listeners_that_cannot_be_asked_for(start, monkeypatch):
    """One snapshot is taken in the arbiter, for the warnings that it brings."""
    from gunicorn_raindrops.listeners import tcp_listener_stats
    from gunicorn_raindrops.reported import kernel

    assert kernel.tcp_listener_stats is tcp_listener_stats

    def broken(*args, **kwargs):
        raise OSError("no netlink")

    monkeypatch.setattr(kernel, "tcp_listener_stats", broken)
    side = start()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        side.try_listeners(Arbiter(1, None, "0", "sync", 0.0), [sock])
    assert start.warned == ["listeners cannot be read from the kernel: no netlink"]
