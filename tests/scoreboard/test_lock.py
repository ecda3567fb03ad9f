"""The lock on a scoreboard's file: who has it, and what a fork does to it."""

import os

import pytest

from gunicorn_raindrops.counting import slots
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.lock import FileLock


@pytest.fixture
def fd(tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def lock(fd):
    """Return a new lock, held exclusively."""
    lock = FileLock(fd)
    lock.exclude()
    return lock


def test_exclusive_and_shared(fd):
    """One exclusive holder, or any number of those who share."""
    first, second = lock(fd), FileLock(fd)
    for take in (second.exclude, second.share):
        with pytest.raises(BlockingIOError):
            take()
    first.share()
    second.share()
    with pytest.raises(BlockingIOError):
        first.exclude()
    second.close()
    second.close()
    assert not second.is_held
    first.close()
    lock(fd).close()


def test_a_child_does_not_hold_it(fd, fork):
    """It lives on, and its parent lets go."""
    mine = lock(fd)

    def child(link):
        assert not mine.is_held
        with pytest.raises(BlockingIOError):
            lock(fd)
        link.say(b"refused")
        link.hear()
        lock(fd).close()

    one = fork(child)
    assert one.link.hear()
    mine.close()
    lock(fd).close()
    one.link.say(b"free")
    one.check()


def test_a_child_that_counts_holds_it(tmp_path, fork):
    """A middleware's process is gone; its children use the file."""
    file = str(tmp_path / "board")
    board = slots.share(2, file)

    def child(link):
        slots.BoardSlotOfProcess(board).begin("GET", "/")
        link.say(b"counting")
        link.hear()

    one = fork(child)
    assert one.link.hear()
    board.forget_file()
    with pytest.raises(BlockingIOError):
        Scoreboard(2, file)
    joined = Scoreboard.join(file)
    assert joined.read().rows[0].calling == 1
    joined.forget_file()
    one.link.say(b"end")
    one.check()
    board = Scoreboard(2, file)
    with pytest.raises(BlockingIOError):
        Scoreboard.join(file)
    board.forget_file()
