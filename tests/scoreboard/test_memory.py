"""The memory of a scoreboard: files of all kinds, adopted, joined, locked."""

import os
import signal
import struct
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gunicorn_raindrops.counting import attached, request
from gunicorn_raindrops.scoreboard import layout
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.layout import HEADER_SIZE

from .conftest import HEADER, SLOT, Pages, figures, killed, linux, tell, timeless, work


def make(path, slots=4):
    board = Scoreboard(slots, str(path))
    board.forget_file()


def test_the_pages_describe_themselves(tmp_path):
    """Magic, version, sizes and the clock's offset stand in the header, for whoever maps it."""
    before, making = time.time() - time.monotonic(), time.monotonic()
    board = Scoreboard(5, str(tmp_path / "board"))
    content = (tmp_path / "board").read_bytes()
    (
        magic,
        version,
        header_size,
        slot_size,
        slots,
        length,
        created,
        offset,
        boot,
        space,
        joinable,
    ) = HEADER.unpack_from(content)
    assert (magic, version) == (b"raindrop", 7)
    assert (header_size, slot_size, slots) == (HEADER_SIZE, SLOT, 5)
    assert length == HEADER_SIZE + 5 * SLOT == len(content)
    assert making <= created / 1e9 <= time.monotonic()
    assert abs(offset / 1e9 - before) < 3600  # somebody may set the clock
    assert joinable == 0
    if sys.platform == "linux":
        name = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
        assert boot.rstrip(b"\0") == name
        assert space == Path("/proc/self/ns/pid").stat().st_ino
    board.forget_file()


def test_a_file_outlives_the_server(tmp_path, fork):
    """Its totals go on in the next server; gauges and owners do not."""

    def serve(link):
        board = Scoreboard(2, str(tmp_path / "board"))
        board.add_untracked(3)
        assert attached.take_over(board, board.claim(), 1, 1)
        for _ in range(10):
            request.begin()
            request.fail()
            request.END["5"]()
        request.begin()
        link.say()
        link.hear()

    for generation in (1, 2, 3):
        child = fork(serve)
        assert child.link.hear()
        killed(child)
        board = Scoreboard(2, str(tmp_path / "board"))
        total = 10 * generation
        assert figures(board) == (0, 0, total, (0, 0, 0, 0, total), total)
        assert board.read().untracked == 0
        claims = [board.claim(), board.claim()]
        assert [claim.slot for claim in claims] == [0, 1]
        for claim in claims:
            board.release(claim)
        board.forget_file()
        del board  # the pages hold the lock as well


@pytest.mark.parametrize(("before", "after", "slots"), [(2, 6, 6), (6, 2, 6), (3, 3, 3)])
def test_a_file_of_another_size(tmp_path, before, after, slots):
    """A larger one is used as it is, a smaller one grows; its totals stay."""
    path = tmp_path / "board"
    board = Scoreboard(before, str(path))
    pages = Pages(board)
    claims = [board.claim() for _ in range(before)]
    for claim in claims:
        pages.set(claim.slot, "requests", 10)
        board.release(claim)
    pages.close()
    board.forget_file()
    del board
    board = Scoreboard(after, str(path))
    assert board.slots == board.read().slots == slots
    assert board.read().requests == 10 * before
    assert len({board.claim().slot for _ in range(slots)}) == slots
    board.forget_file()


def test_a_file_in_use(tmp_path, fork):
    """A second server is refused as long as the first has it, and lets it be."""
    path = tmp_path / "board"
    board = Scoreboard(2, str(path))
    board.claim()
    before = path.read_bytes()

    def second(link):
        with pytest.raises(BlockingIOError):
            Scoreboard(2, str(path))

    fork(second).check()
    with pytest.raises(BlockingIOError):
        Scoreboard(9, str(path))
    assert path.read_bytes() == before
    board.forget_file()
    del board
    make(path)


def good(tmp_path, slots=4):
    make(tmp_path / "good", slots)
    return (tmp_path / "good").read_bytes()


def patched(content, at, form, value):
    content = bytearray(content)
    struct.pack_into(form, content, at, value)
    return bytes(content)


FOREIGN = {
    "text": lambda good: b"somebody's precious data\n" * 400,
    "a byte": lambda good: b"r",
    "zeros, and a byte": lambda good: bytes(3_000_000) + b"r",
    "zeros, and a word": lambda good: bytes(40) + b"precious" + bytes(20_000),
    "zeros, and an owner": lambda good: patched(bytes(HEADER_SIZE + SLOT), HEADER_SIZE, "=Q", 1),
    "magic only": lambda good: b"raindrop",
    "half a header": lambda good: good[:40],
    "header only": lambda good: good[:HEADER_SIZE],
    "cut": lambda good: good[:-1],
    "version": lambda good: patched(good, 8, "=I", 1),
    "header size": lambda good: patched(good, 12, "=I", 64),
    "slot size": lambda good: patched(good, 16, "=I", 64),
    "slots": lambda good: patched(good, 20, "=I", 5),
    "many slots": lambda good: patched(good, 20, "=I", 2**32 - 1),
    "no slots": lambda good: patched(good, 20, "=I", 0),
}


@pytest.mark.parametrize("make_content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file(tmp_path, make_content):
    """What is no scoreboard of this format is ValueError, naming the file, and stays as it is."""
    path = tmp_path / "foreign"
    content = make_content(good(tmp_path))
    path.write_bytes(content)
    with pytest.raises(ValueError, match="foreign") as caught:
        Scoreboard(4, str(path))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    fd = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(ValueError):
            Scoreboard.adopt(fd)
    finally:
        os.close(fd)
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", [1, HEADER_SIZE, 10_000, HEADER_SIZE + 24_576])
@pytest.mark.parametrize("version", [0, layout.VERSION])
def test_a_file_not_yet_begun(tmp_path, size, version):
    """Zeros, but for what stands before the magic is stored: its server was killed right there."""
    path = tmp_path / "zeros"
    path.write_bytes((bytes(8) + version.to_bytes(4, sys.byteorder) + bytes(size))[:size])
    board = Scoreboard(4, str(path))
    assert board.slots == 4
    assert board.read().requests == 0
    board.forget_file()


@pytest.mark.once
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_files(tmp_path, data):
    """Whatever a file holds, it is used or refused with ValueError."""
    content = bytearray(good(tmp_path, 2))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 100) | st.integers(0, len(content) - 1))
        damage = data.draw(st.binary(min_size=1, max_size=16))
        content[at : at + len(damage)] = damage
    path = tmp_path / "damaged"
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
    try:
        board = Scoreboard(2, str(path))
    except ValueError:
        return
    board.read()
    board.claim()
    board.forget_file()


@linux
def test_another_boots_pids(tmp_path, fork):
    """After a reboot the pids in the file are other processes', even with the same start time."""
    here = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    kept = Scoreboard(2, str(tmp_path / "board"))
    claim = kept.claim()
    child = fork(lambda link: work(link, kept, claim))
    assert child.link.hear() == b"taken"
    tell(child, "ready", "begin", "end 2", "begin")
    content = (tmp_path / "board").read_bytes()
    assert content[48:88].rstrip(b"\0") == here
    for boot, calling in ((here, 1), (b"another", 0)):
        path = tmp_path / boot.decode()
        path.write_bytes(content[:48] + boot.ljust(40, b"\0") + content[88:])
        board = Scoreboard(2, str(path))
        assert figures(board) == (calling, 0, 1, (0, 1, 0, 0, 0), 0)
        assert path.read_bytes()[48:88].rstrip(b"\0") == here
        board.forget_file()
    kept.forget_file()


def test_the_lock_goes_with_the_arbiter(tmp_path, fork):
    """When the arbiter has died its file is free for the next one at once, though a worker may
    live a while longer; that worker's slot stays its own."""
    path = str(tmp_path / "board")

    def arbiter(link):
        board = Scoreboard(2, path)
        claim = board.claim()
        pid = os.fork()
        if not pid:
            board.forget_file()
            attached.take_over(board, claim, 1, 1)
            request.begin()
            link.say(str(os.getpid()).encode())
            link.hear()
            os._exit(0)
        signal.pause()

    child = fork(arbiter)
    worker = int(child.link.hear())
    child.kill()
    child.die()
    try:
        board = Scoreboard(2, path)
        assert [(row.pid, row.calling) for row in board.read().rows] == [(worker, 1)]
        board.forget_file()
    finally:
        child.wait()


@pytest.mark.parametrize("kind", ["fifo", "directory", "missing"])
def test_not_a_file(tmp_path, kind):
    """OSError or ValueError, at once."""
    path = tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = path / "board"
    with pytest.raises((OSError, ValueError)):
        Scoreboard(2, str(path))


def test_adopting(board, fork):
    """Another arbiter gets the same board by its descriptor, counts and claims included."""
    claim = board.claim()
    child = fork(lambda link: work(link, board, claim))
    assert child.link.hear() == b"taken"
    tell(child, "ready", "begin")
    fd = os.dup(board.fileno())
    other = Scoreboard.adopt(fd)
    assert other.fileno() == fd
    assert timeless(other.read().rows) == timeless(board.read().rows)
    assert len(board.read().rows) == 1
    assert other.claim().slot == 1
    assert board.claim().slot == 2
    tell(child, "end 2")
    assert figures(other) == figures(board) == (0, 0, 1, (0, 1, 0, 0, 0), 0)
    other.forget_file()


def test_adopting_an_empty_file(tmp_path):
    """There is no scoreboard in it: ValueError, and it stays empty."""
    with open(tmp_path / "empty", "w+b") as file:
        with pytest.raises(ValueError):
            Scoreboard.adopt(file.fileno())
        assert os.fstat(file.fileno()).st_size == 0
