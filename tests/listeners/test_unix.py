"""unix_listener_stats against real sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gunicorn_raindrops import _native
from gunicorn_raindrops.listeners import (
    InetDiagSocket,
    ListenStats,
    descriptor_stats,
    queries,
    sock_diag,
    tcp_listener_stats,
    unix_listener_stats,
)
from gunicorn_raindrops.listeners import unix as unix_names

from ..bounds import WAIT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="unix_diag is Linux's")

NOBODY = ListenStats(0, 0, 0, None)


class Lab(contextlib.ExitStack):
    """A directory with a short name, and sockets that are gone when the test is."""

    def __init__(self) -> None:
        super().__init__()
        self.dir = self.enter_context(tempfile.TemporaryDirectory(prefix="grd"))

    def path(self, name: str = "x.sock") -> str:
        return f"{self.dir}/{name}"

    def listen(self, name: str | bytes, backlog: int = 4) -> socket.socket:
        sock = self.enter_context(socket.socket(socket.AF_UNIX))
        sock.bind(name)
        sock.listen(backlog)
        return sock

    def connect(self, name: str | bytes) -> socket.socket:
        sock = self.enter_context(socket.socket(socket.AF_UNIX))
        sock.settimeout(WAIT)
        sock.connect(name)
        return sock

    def accept(self, listener: socket.socket) -> socket.socket:
        listener.settimeout(WAIT)
        return self.enter_context(listener.accept()[0])


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(params=["unix_diag", "ENOENT", "EPERM"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with unix_diag, with a kernel that lacks it, and in a sandbox that refuses it."""
    if request.param != "unix_diag":

        def refuse(*args: object) -> None:
            raise OSError(getattr(errno, request.param), "no unix_diag")

        monkeypatch.setattr(sock_diag, "read", refuse)
    return str(request.param)


def backlog(source: str, size: int) -> int | None:
    return size if source == "unix_diag" else None


@pytest.mark.parametrize(("accepted", "waiting"), [(0, 0), (1, 0), (0, 1), (3, 2)])
def test_a_path(lab: Lab, source: str, accepted: int, waiting: int) -> None:
    """Accepted connections are active, the others queued."""
    path = lab.path()
    listener = lab.listen(path)
    for _ in range(accepted):
        lab.connect(path)
        lab.accept(listener)
    for _ in range(waiting):
        lab.connect(path)
    expected = ListenStats(accepted, waiting, backlog(source, 4), None)
    assert unix_listener_stats(path) == {path: expected}
    assert unix_listener_stats([path, path]) == {path: expected}
    assert unix_listener_stats()[path] == expected
    assert unix_listener_stats(path, active=False) == {path: expected._replace(active=None)}


def test_waiting(lab: Lab, source: str) -> None:
    """Those of the accepted connections wait that have bytes nobody has read."""
    path = lab.path()
    listener = lab.listen(path)
    clients = [lab.connect(path) for _ in range(3)]
    servers = [lab.accept(listener) for _ in clients]
    clients.append(lab.connect(path))
    for client in clients[1:]:
        client.sendall(b"GET / HTTP/1.1")
    servers[0].sendall(b"unread by its client")
    servers[1].recv(14)
    known = source == "unix_diag"
    assert unix_listener_stats(path)[path].waiting == (1 if known else None)
    clients[2].sendall(bytes(9000))
    found = unix_listener_stats(path)[path]
    assert (found.waiting, found.bodies) == ((1, 1) if known else (None, None))
    assert unix_listener_stats(path, active=False)[path].waiting is None


def test_an_abstract_name(lab: Lab, source: str) -> None:
    """An abstract name is written with an @."""
    name = f"@grd-{os.getpid()}-\udcff"
    raw = b"\0" + os.fsencode(name)[1:]
    listener = lab.listen(raw)
    lab.connect(raw)
    lab.accept(listener)
    lab.connect(raw)
    expected = ListenStats(1, 1, backlog(source, 4), None)
    assert unix_listener_stats(name) == {name: expected}
    assert unix_listener_stats()[name] == expected


def test_a_name_that_is_not_utf8(lab: Lab, source: str) -> None:
    """Names are bytes: what is not UTF-8 has surrogate escapes."""
    path = lab.path("caf\udce9 \u00e9.sock")
    lab.listen(os.fsencode(path))
    lab.connect(os.fsencode(path))
    expected = ListenStats(0, 1, backlog(source, 4), None)
    assert unix_listener_stats(path) == {path: expected}
    assert unix_listener_stats()[path] == expected


def test_the_longest_path(lab: Lab, source: str) -> None:
    """A name may fill sun_path: 107 bytes and a NUL, or a NUL and 107 bytes."""
    path = lab.path("")
    path += "x" * (107 - len(path))
    name = "@" + "y" * 107
    for bound, asked in ((path, path), ("\0" + name[1:], name)):
        lab.listen(bound)
        lab.connect(bound)
        expected = ListenStats(0, 1, backlog(source, 4), None)
        assert unix_listener_stats(asked) == {asked: expected}


def test_symbolic_links_have_both_names(lab: Lab, source: str) -> None:
    """A link is reported, and so is what it points to; also relative ones, also chains."""
    path, link, chain = lab.path(), lab.path("link"), lab.path("chain")
    lab.listen(path)
    lab.connect(path)
    Path(link).symlink_to("x.sock")
    Path(chain).symlink_to(link)
    one = ListenStats(0, 1, backlog(source, 4), None)
    assert unix_listener_stats(link) == {link: one, path: one}
    assert unix_listener_stats(chain) == {chain: one, link: one, path: one}


def test_links_that_go_nowhere(lab: Lab, source: str) -> None:
    """A loop of links ends, and nobody listens there."""
    loop, dangling = lab.path("loop"), lab.path("dangling")
    Path(loop).symlink_to(loop)
    Path(dangling).symlink_to(lab.path("missing"))
    assert unix_listener_stats(loop) == {loop: NOBODY}
    assert unix_listener_stats(dangling) == {dangling: NOBODY, lab.path("missing"): NOBODY}


def test_nobody_listens(lab: Lab, source: str) -> None:
    """Missing files, stale sockets, plain files and unlistened names have zeros."""
    lab.listen(lab.path("stale")).close()
    Path(lab.path("plain")).touch()
    bound = lab.enter_context(socket.socket(socket.AF_UNIX))
    bound.bind(lab.path("bound"))
    asked = [lab.path(name) for name in ("stale", "plain", "bound", "missing")]
    assert unix_listener_stats(asked) == dict.fromkeys(asked, NOBODY)
    assert not set(asked) & set(unix_listener_stats())


def test_two_sockets_of_one_path(lab: Lab) -> None:
    """After a path is bound anew it means the new socket: the old one's figures are not its."""
    path = lab.path()
    old = lab.listen(path, backlog=2)
    lab.connect(path)
    lab.accept(old)
    Path(path).rename(lab.path("old"))
    new = lab.listen(path, backlog=3)
    for _ in range(2):
        lab.connect(path)
    assert unix_listener_stats(path) == {path: ListenStats(0, 2, 3, None)}
    assert unix_listener_stats()[path] == ListenStats(0, 2, 3, None)
    # the old one is still reachable, by its file's new name
    assert unix_listener_stats(lab.path("old")) == {lab.path("old"): ListenStats(1, 0, 2, None)}
    new.close()
    assert unix_listener_stats(path) == {path: NOBODY}
    Path(path).unlink()
    assert unix_listener_stats(path) == {path: ListenStats(1, 0, 2, None)}


def test_another_name_of_the_same_file(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket bound by a relative path is found by its absolute one, and through a directory
    that is a link."""
    monkeypatch.chdir(lab.dir)
    lab.listen("x.sock")
    lab.connect("x.sock")
    Path(lab.path("dir")).symlink_to(lab.dir)
    expected = ListenStats(0, 1, 4, None)
    for path in (lab.path(), lab.path("dir/x.sock"), "x.sock", "./x.sock"):
        assert unix_listener_stats(path) == {path: expected}


def test_closed_connections_are_not_active(lab: Lab, source: str) -> None:
    """A connection counts until the accepted side is closed."""
    path = lab.path()
    listener = lab.listen(path)
    client = lab.connect(path)
    accepted = lab.accept(listener)
    client.close()
    assert unix_listener_stats(path)[path].active == 1
    accepted.close()
    assert unix_listener_stats(path)[path].active == 0


def test_a_full_queue(lab: Lab) -> None:
    """The queue may hold one more than its backlog; what is refused is not counted anywhere."""
    path = lab.path()
    lab.listen(path, backlog=2)
    for _ in range(3):
        lab.connect(path)
    refused = lab.enter_context(socket.socket(socket.AF_UNIX))
    refused.setblocking(False)
    with pytest.raises(BlockingIOError):
        refused.connect(path)
    assert unix_listener_stats(path) == {path: ListenStats(0, 3, 2, None)}


def test_paths_without_listeners_cost_nothing() -> None:
    """None asked for, none reported."""
    assert unix_listener_stats([]) == {}


def test_through_a_socket_of_ones_own(lab: Lab) -> None:
    """The socket that asks for TCP listeners asks for these as well."""
    path = lab.path()
    lab.listen(path)
    with InetDiagSocket() as sock:
        assert unix_listener_stats(path, sock) == unix_listener_stats(path, sock=sock)


def test_other_errors_are_raised(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a kernel without unix_diag makes it read /proc; anything else is the caller's."""
    sock = InetDiagSocket()
    sock.close()
    with pytest.raises(OSError) as caught:
        unix_listener_stats(lab.path(), sock)
    assert caught.value.errno == errno.EBADF


def test_unknown_is_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure that is missing from the kernel's rows is None."""
    row = sock_diag.Row(0, unix_names.UNKNOWN, unix_names.UNKNOWN, 0, 0, 0, 0, 1, 2, b"\0x")
    monkeypatch.setattr(sock_diag, "read", lambda *args: [row])
    assert unix_listener_stats("@x") == {"@x": ListenStats(0, None, None, None)}


@pytest.mark.parametrize("bad", ["", "\0x", "a\0b", "\ud800"])
def test_malformed_paths(bad: str) -> None:
    """What cannot be bound is a ValueError that says what can."""
    with pytest.raises(ValueError, match="expected a path"):
        unix_listener_stats([bad])


@pytest.mark.parametrize("bad", [3, b"/x", [b"/x"], [None]])
def test_wrong_types(bad: object) -> None:
    """A path is a string."""
    with pytest.raises(TypeError):
        unix_listener_stats(bad)  # type: ignore[arg-type]


def test_descriptor_stats(lab: Lab) -> None:
    """Nothing is known from a unix listener's descriptor; what does not listen is an error."""
    listener = lab.listen(lab.path())
    assert descriptor_stats(listener) == ListenStats(None, None, None, None)
    assert descriptor_stats(listener.fileno()) == ListenStats(None, None, None, None)
    with pytest.raises(OSError):
        descriptor_stats(lab.connect(lab.path()))


def test_elsewhere_than_on_linux(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    """Without the native module every reading says that it is Linux-only."""
    path = lab.path()
    lab.listen(path)
    monkeypatch.delattr(_native, "_diag", raising=False)
    monkeypatch.setitem(sys.modules, "gunicorn_raindrops._native._diag", None)
    monkeypatch.setattr(sock_diag, "load", sock_diag.load.__wrapped__)
    monkeypatch.setitem(sys.modules, "pyroute2.netlink", None)
    for name in ("load", "tcp", "unix"):
        monkeypatch.setattr(queries, name, getattr(queries, name).__wrapped__)
    with pytest.raises(OSError, match="Linux-only") as caught:
        tcp_listener_stats()
    assert caught.value.errno == errno.ENOSYS
    assert unix_listener_stats(path) == {path: ListenStats(0, 0, None, None)}
