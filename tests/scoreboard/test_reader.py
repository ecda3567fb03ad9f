"""Reading, which changes nothing, and believes nothing."""

import json
import os
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gunicorn_raindrops._native._scoreboard import lib
from gunicorn_raindrops.counting import attached, request
from gunicorn_raindrops.exporters import json as as_json
from gunicorn_raindrops.exporters import prometheus
from gunicorn_raindrops.sampler import Sampler
from gunicorn_raindrops.scoreboard.board import Claim, Scoreboard
from gunicorn_raindrops.scoreboard.layout import HEADER_SIZE, SLOT_SIZE
from gunicorn_raindrops.scoreboard.reader import open_read_only
from gunicorn_raindrops.scoreboard.records import InFlight
from gunicorn_raindrops.snapshot import Arbiter

from ..bounds import WAIT


@pytest.fixture
def board():
    board = Scoreboard(4)
    yield board
    board.forget_file()


def content(board):
    return os.pread(board.fileno(), 2**24, 0)


def serve(link, board, claim):
    assert attached.take_over(board, claim, 1, 1)
    attached.ready()
    request.begin("GET", "/")
    link.say()
    link.hear()


def test_a_read_only_mapping(board, fork):
    """By descriptor or by name, also where the file is open for reading only."""
    child = fork(serve, board, board.claim())
    assert child.link.hear()
    name = f"/proc/self/fd/{board.fileno()}"
    fd = os.open(name, os.O_RDONLY)
    before = content(board)
    for source in (board.fileno(), name, fd):
        found = open_read_only(source)
        (row,) = found.read().rows
        assert (row.pid, row.calling, row.current.path) == (child.pid, 1, "/")
        assert found.slots == 4
        assert found.marks(60).calling == 1
        assert found.in_flight() == InFlight(1, 0, row.reading, 1)
        assert not found.lost
        assert not hasattr(found, "claim")
    os.close(fd)
    assert content(board) == before


def test_what_the_dead_have_left(board, fork):
    """A reader leaves it out, and lets it be; who reaps takes it away."""
    child = fork(serve, board, board.claim())
    assert child.link.hear()
    child.kill()
    child.die()
    before = content(board)
    for one in (board, open_read_only(board.fileno())):
        assert one.read().rows == ()
        assert one.read().requests == 0
        assert one.in_flight() == InFlight(0, 0, None, 0)
    assert content(board) == before
    board.reap()
    assert content(board) != before
    assert board.claim().slot == 0
    child.wait()


def test_lag(board, fork):
    """By how much the owner's status thread was late, or is: a turn is due each second."""

    def serve(link, claim):
        assert attached.take_over(board, claim, 1, 1)
        link.say()
        for late in (b"5", b"0"):
            assert link.hear() == late
            attached.turned(int(late) * 10**9)
            link.say()
        link.hear()

    def lag():
        (row,) = board.read().rows
        return row.lag_seconds

    child = fork(serve, board.claim())
    child.link.hear()
    assert lag() is None
    child.link.say(b"5")
    child.link.hear()
    assert lag() == 5
    turning = time.monotonic()
    child.link.say(b"0")
    child.link.hear()
    first = lag()
    assert 0 <= first <= time.monotonic() - turning
    until = time.monotonic() + WAIT
    while lag() <= first + 1:
        assert time.monotonic() < until
        time.sleep(0.05)
    child.link.say()
    child.check()


@pytest.mark.parametrize("found", [b"", b"something else" * 1000])
def test_no_scoreboard(tmp_path, found):
    """ValueError names the file, which stays as it is."""
    path = tmp_path / "other"
    path.write_bytes(found)
    with pytest.raises(ValueError, match="other"):
        open_read_only(str(path))
    with pytest.raises(FileNotFoundError):
        open_read_only(str(tmp_path / "missing"))
    assert path.read_bytes() == found


def test_a_file_that_is_cut_short(tmp_path):
    """The reader is told, and does not die."""
    path = tmp_path / "board"
    board = Scoreboard(4, str(path))
    board.claim()
    found = open_read_only(str(path))
    os.truncate(path, 0)
    with pytest.raises(OSError, match="cut short"):
        found.read()
    board.forget_file()


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_any_bytes(board, seed):
    """Pages that somebody has scribbled on are read and shown, whatever they say."""
    rng = random.Random(seed)
    size = os.fstat(board.fileno()).st_size
    for _ in range(4):
        board.release(board.claim() or Claim(0, lib.grd_owner(board._slots)))
    sampler = Sampler(board, Arbiter(os.getpid(), "", "", "sync", time.monotonic()), [], (), print)
    found = open_read_only(board.fileno())
    for _ in range(15):
        for _ in range(20):
            at = rng.choice([rng.randrange(96, size), HEADER_SIZE + rng.randrange(4) * SLOT_SIZE])
            os.pwrite(board.fileno(), rng.randbytes(rng.choice([1, 8, 64, 2048]))[: size - at], at)
        reading = found.read()
        assert len(reading.rows) <= 4
        assert len(reading.busy_seconds) <= 4
        assert len(reading.killed) <= 8
        found.marks(60)
        board.reap()
        snapshot = sampler.take()
        json.loads(as_json.encode(snapshot))
        assert prometheus.encode(snapshot, None)[0]
        board.release(board.claim() or Claim(0, lib.grd_owner(board._slots)))
