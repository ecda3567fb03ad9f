"""The status address: its socket, and the file of a unix one."""

import contextlib
import os
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status.listener import StatusListener

from ..ports import free_address
from .conftest import open_listener


def test_listener(any_listener):
    """It listens, does not block, and is not inherited by what is executed."""
    assert any_listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    assert any_listener.gettimeout() == 0
    assert not os.get_inheritable(any_listener.fileno())


def test_address_taken(listener):
    """OSError, and no descriptor left (see the fixture)."""
    with pytest.raises(OSError, match="in use"):
        open_listener((socket.AF_INET, listener.getsockname()))


def test_foreign_address():
    """OSError for one that is not this machine's."""
    with pytest.raises(OSError):
        open_listener((socket.AF_INET, ("192.0.2.1", 0)))
    with pytest.raises(OSError):
        open_listener((socket.AF_UNIX, "/nonexistent/directory/s"))


def test_a_stale_socket_file(tmp_path):
    """One that nobody listens on is replaced."""
    path = tmp_path / "s"
    open_listener((socket.AF_UNIX, str(path))).close()
    assert path.is_socket()
    with closing(open_listener((socket.AF_UNIX, str(path)))):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_socket_file_in_use(unix):
    """It is not taken from whoever listens on it."""
    path = unix.getsockname()
    inode = Path(path).stat().st_ino
    with pytest.raises(OSError, match="in use"):
        open_listener((socket.AF_UNIX, path))
    assert Path(path).stat().st_ino == inode


def test_a_socket_file_of_one_who_is_busy(tmp_path):
    """Nor where nobody can connect at the moment, since too many wait already."""
    path = str(tmp_path / "s")
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(path)
        busy.listen(0)
        with pytest.raises(BlockingIOError):
            while True:
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(path)
        with pytest.raises(OSError, match="in use"):
            open_listener((socket.AF_UNIX, path))
        assert Path(path).is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo"])
def test_something_else_in_the_way(tmp_path, kind):
    """It stays: only a socket is ever removed."""
    path, target = tmp_path / "s", tmp_path / "target"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        target.write_text("precious")
        path.symlink_to(target)
    before = os.lstat(path)
    with pytest.raises(OSError):
        open_listener((socket.AF_UNIX, str(path)))
    assert os.lstat(path).st_ino == before.st_ino
    assert kind != "link" or target.read_text() == "precious"


# The file of a unix socket.


@pytest.fixture
def umask():
    """Return a function that sets it; the test's end sets it back."""
    before = os.umask(0o22)
    yield os.umask
    os.umask(before)


def permissions(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.parametrize("mask", [0, 0o22, 0o77, 0o777])
@pytest.mark.parametrize("mode", [None, 0o600, 0o660, 0o666, 0o777, 0])
def test_mode(tmp_path, umask, mask, mode):
    """It is what the setting says, whatever the umask."""
    path = tmp_path / "s"
    umask(mask)
    listener = StatusListener(
        load({"bind": f"unix:{path}", **({} if mode is None else {"mode": mode})}, {})
    )
    with closing(listener):
        listener.open()
        assert permissions(path) == (0o600 if mode is None else mode)
        listener.set_mode(0o640)
        assert permissions(path) == 0o640


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="elsewhere by the umask")
def test_mode_from_the_first_moment(tmp_path, umask, monkeypatch):
    """There is no moment in which others may connect: bind(2) makes it so."""
    umask(0)
    monkeypatch.setattr("gunicorn_raindrops.status.listener._set_mode", lambda *_: None)
    with closing(open_listener((socket.AF_UNIX, str(tmp_path / "s")), 0o600)):
        assert permissions(tmp_path / "s") == 0o600


def test_a_file_of_another_server(tmp_path):
    """It is not removed at the end, nor is its mode changed: only the file that was bound is."""
    path = tmp_path / "s"
    ours = StatusListener(load({"bind": f"unix:{path}"}, {}))
    ours.open()
    path.rename(tmp_path / "old")
    with closing(open_listener((socket.AF_UNIX, str(path)), 0o666)):
        ours.set_mode(0o640)
        ours.close()
        assert path.is_socket()
        assert permissions(path) == 0o666
    path.unlink()
    ours = StatusListener(load({"bind": f"unix:{path}"}, {}))
    ours.open()
    ours.close()
    assert not path.exists()


# Opened later.


@pytest.mark.parametrize("family", ["inet", "unix"])
def test_trying_again(tmp_path, fork, family):
    """An address that was taken can be opened later, also by a worker: it is open for all then."""
    bind = free_address() if family == "inet" else f"unix:{tmp_path}/s"
    other = open_listener(load({"bind": bind}, {}).address)
    with closing(StatusListener(load({"bind": bind}, {}))) as ours:
        for _ in range(2):
            with pytest.raises(OSError, match="in use"):
                ours.open()
            assert not ours.is_open
        other.close()
        fork(lambda link: ours.open()).check()
        assert ours.is_open
        with socket.socket(ours.sock.family) as client:
            client.connect(ours.sock.getsockname())


@pytest.mark.parametrize("others", [False, True], ids=["ours", "another's"])
def test_a_file_that_another_process_has_made(tmp_path, fork, others):
    """A worker may open the address that was taken at the start: its file goes with the listener,
    unless another server listens there by then."""
    path = tmp_path / "status"
    listener = StatusListener(load({"bind": f"unix:{path}"}, {}))
    child = fork(lambda link: listener.open())
    child.check()
    assert listener.is_open
    assert path.is_socket()
    if others:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as another:
            another.bind(str(path))
            another.listen()
            listener.close()
            assert path.is_socket()
    else:
        listener.close()
        assert not path.exists()
