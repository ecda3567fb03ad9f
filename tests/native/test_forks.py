"""What children must not keep: descriptors that are closed in each, whoever forks it."""

import ctypes
import os
import signal
import socket
from pathlib import Path

import pytest

from gunicorn_raindrops._native._scoreboard import lib

from ..bounds import WAIT

FORKS = {"Python": os.fork, "C": ctypes.PyDLL(None).fork}
"""The child of a fork in C runs no Python here. It waits for ever where the interpreter wants to
give the GIL to a thread that it has not, so it is looked at from outside."""


class Kept:
    """A child that stays, and what it has of its parent's."""

    def __init__(self, fork):
        self.pid = fork()
        if not self.pid:
            while True:
                signal.pause()

    def has(self, fd):
        """Tell whether it has what its parent has by that number."""
        return os.fstat(fd).st_ino == Path(f"/proc/{self.pid}/fd/{fd}").stat().st_ino

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture(params=FORKS)
def child(request):
    """Return what forks a child, and waits until that has closed what it is to close."""
    children = []

    def start():
        ours, its = socket.socketpair()
        with ours, its:
            assert lib.grd_close_in_every_child(its.fileno()) == 0
            children.append(Kept(FORKS[request.param]))
            lib.grd_keep_in_children(its.fileno())
            its.close()
            ours.settimeout(WAIT)
            assert ours.recv(1) == b""  # it was the last in the list
        return children[-1]

    yield start
    for one in children:
        one.end()


@pytest.fixture
def fds(tmp_path):
    """Return three descriptors."""
    fds = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in "abc"]
    yield fds
    for fd in fds:
        lib.grd_keep_in_children(fd)
        os.close(fd)


def test_close_and_keep(child, fds):
    """The numbers stay taken: the child's copies of our objects would close whatever else had
    them."""
    for fd in (*fds, fds[0]):
        assert lib.grd_close_in_children(fd) == 0
    lib.grd_keep_in_children(fds[1])
    one = child()
    assert [one.has(fd) for fd in fds] == [False, True, False]
    assert Path(f"/proc/{one.pid}/fd/{fds[0]}").readlink().name.startswith("socket:")


def test_share(child, fds):
    """The next child has them, but no lock; its own children do not."""
    lib.grd_close_in_children(fds[0])
    lib.grd_close_in_every_child(fds[1])
    lib.grd_share_with_child(True)
    one = child()
    lib.grd_share_with_child(False)
    assert [one.has(fd) for fd in fds] == [True, False, True]
    assert not child().has(fds[0])


def test_a_worker_that_forks(fork, fds):
    """What it was given is not for its children."""
    lib.grd_close_in_children(fds[0])

    def worker(link):
        inode = os.fstat(fds[0]).st_ino
        child = os.fork()
        if not child:
            os._exit(os.fstat(fds[0]).st_ino == inode)
        assert os.waitpid(child, 0)[1] == 0
        assert os.fstat(fds[0]).st_ino == inode

    lib.grd_share_with_child(True)
    one = fork(worker)
    lib.grd_share_with_child(False)
    one.check()


def test_a_number_that_is_anothers_by_now(child, fds):
    """Somebody has closed our descriptor without a word: the child keeps what has its number."""
    lib.grd_close_in_children(fds[0])
    os.dup2(fds[1], fds[0])
    assert child().has(fds[0])


def test_too_many(fds):
    """One that finds no place, or is none, is told of."""
    many = [os.dup(fds[0]) for _ in range(40)]
    codes = [lib.grd_close_in_children(fd) for fd in many]
    for fd in many:
        lib.grd_keep_in_children(fd)
        os.close(fd)
    assert codes.count(0) >= 30
    assert set(codes[codes.count(0) :]) == {-28}
    assert lib.grd_close_in_children(many[0]) == -9
