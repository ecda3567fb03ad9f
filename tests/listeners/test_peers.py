"""Our figures beside those of Ruby raindrops, `ss` and the kernel's own counters."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gunicorn_raindrops.listeners import (
    InetDiagSocket,
    ListenStats,
    descriptor_stats,
    tcp_listener_stats,
    unix_listener_stats,
)

from .listening import Lab, address, enter_own_network, port, settled

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="sock_diag is Linux's"),
]

needs_ss = pytest.mark.skipif(not shutil.which("ss"), reason="needs ss (iproute2)")
needs_ruby = pytest.mark.skipif(
    not Path("/usr/share/doc/ruby-raindrops").exists(), reason="needs the package ruby-raindrops"
)

RUBY = """
require "raindrops"; require "json"
kind, names = JSON.parse(ARGV[0])
found = Raindrops::Linux.send(kind + "_listener_stats", names)
puts JSON.generate(found.map { |name, stats| [name, stats.to_a] }.to_h)
"""


def run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    return os.fsdecode(done.stdout)


def ruby(kind: str, names: list[str] | None) -> dict[str, list[int]]:
    """Return address: [active, queued] as Ruby raindrops sees them."""
    found: dict[str, list[int]] = json.loads(
        run("ruby", "-Ku", "-e", RUBY, json.dumps([kind, names]))
    )
    return found


def ss_tcp() -> dict[str, list[int]]:
    """Return address: [queued, backlog] as `ss -ltn` sees them, sockets of one address added."""
    found: dict[str, list[int]] = {}
    for line in run("ss", "-Hltn").splitlines():
        _, queued, backlog, local, *_ = line.split()
        local = local.replace("*:", "[::]:")
        sums = found.setdefault(local, [0, 0])
        sums[0] += int(queued)
        sums[1] += int(backlog)
    return found


def ss_active(local_port: int) -> int:
    """Return how many connections of a port `ss` shows with an inode: those are accepted."""
    lines = run("ss", "-Htne", "state", "established", f"( sport = :{local_port} )").splitlines()
    return sum("ino:0 " not in line and "ino:" in line for line in lines)


def ours(names: list[str]) -> dict[str, list[Any]]:
    return {name: [s.active, s.queued] for name, s in tcp_listener_stats(names).items()}


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def crowd(lab: Lab, listener: socket.socket, host: str, accepted: int, waiting: int) -> None:
    for _ in range(accepted):
        lab.connect(host, port(listener))
        lab.accept(listener)
    for _ in range(waiting):
        lab.connect(host, port(listener))
    queued = ListenStats(accepted, waiting, None, None)[:2]
    name = address(listener)
    assert settled(lambda: tcp_listener_stats(name)[name][:2], queued) == queued


SCENES = [
    ("127.0.0.1", "127.0.0.1", 0, 0),
    ("127.0.0.1", "127.0.0.1", 1, 0),
    ("127.0.0.1", "127.0.0.1", 0, 1),
    ("127.0.0.1", "127.0.0.1", 500, 0),
    ("127.0.0.1", "127.0.0.1", 0, 500),
    ("127.0.0.1", "127.0.0.1", 500, 500),
    ("::1", "::1", 3, 2),
    ("0.0.0.0", "127.0.0.1", 3, 2),
    ("::", "127.0.0.1", 3, 2),
    ("::", "::1", 3, 2),
]


@pytest.mark.parametrize(("host", "client", "accepted", "waiting"), SCENES)
@needs_ss
def test_equal_to_ss(lab: Lab, host: str, client: str, accepted: int, waiting: int) -> None:
    """Queued, backlog and active are those of ss, by name and in the list of all."""
    listener = lab.listen(host, backlog=600)
    crowd(lab, listener, client, accepted, waiting)
    name = address(listener)
    queued, backlog = ss_tcp()[name]
    expected = ListenStats(ss_active(port(listener)), queued, backlog, 0)
    assert expected == ListenStats(accepted, waiting, 600, 0)
    assert tcp_listener_stats(name)[name] == expected
    assert tcp_listener_stats()[name] == expected


@pytest.mark.parametrize(("host", "client", "accepted", "waiting"), SCENES)
@needs_ruby
def test_equal_to_ruby(lab: Lab, host: str, client: str, accepted: int, waiting: int) -> None:
    """Active and queued are those of Ruby raindrops, by name and in the list of all."""
    listener = lab.listen(host, backlog=600)
    crowd(lab, listener, client, accepted, waiting)
    name = address(listener)
    assert ours([name]) == ruby("tcp", [name])
    stats = tcp_listener_stats()[name]
    assert [stats.active, stats.queued] == ruby("tcp", None)[name]


@needs_ruby
@needs_ss
def test_two_hundred_listeners(lab: Lab) -> None:
    """At once, in one reading, all are equal."""
    listeners = [lab.listen("::1" if i % 2 else "127.0.0.1") for i in range(200)]
    for i in range(0, 200, 7):
        host = "::1" if i % 2 else "127.0.0.1"
        crowd(lab, listeners[i], host, i % 3, i % 5)
    names = [address(one) for one in listeners]
    found = tcp_listener_stats(names)
    assert ours(names) == ruby("tcp", names)
    theirs = ss_tcp()
    assert {n: [s.queued, s.backlog] for n, s in found.items()} == {n: theirs[n] for n in names}


@needs_ruby
@needs_ss
def test_half_closed(lab: Lab) -> None:
    """A connection that either side has begun to close is active for none of the three."""
    listener = lab.listen()
    crowd(lab, listener, "127.0.0.1", 1, 0)
    by_client, by_server = (lab.connect("127.0.0.1", port(listener)) for _ in range(2))
    lab.accept(listener)
    accepted = lab.accept(listener)
    by_client.shutdown(socket.SHUT_WR)
    accepted.shutdown(socket.SHUT_WR)
    assert by_server.recv(1) == b""
    name = address(listener)
    expected = {name: [1, 0]}
    assert settled(lambda: ours([name]), expected) == expected
    assert ruby("tcp", [name]) == expected
    assert ss_active(port(listener)) == 1


@needs_ruby
@needs_ss
def test_reuseport_differs_from_ruby(lab: Lab) -> None:
    """Ruby takes the queue of one of the sockets on an address, whichever comes last. The
    connections of the others wait as well, so we add them up, as adding up ss's lines does."""
    group = [lab.listen(reuse=True)]
    group += [lab.listen(port=port(group[0]), reuse=True) for _ in range(3)]
    for _ in range(16):
        lab.connect("127.0.0.1", port(group[0]))
    name = address(group[0])
    expected = ListenStats(0, 16, 64, 0)
    assert settled(lambda: tcp_listener_stats(name)[name], expected) == expected
    assert ss_tcp()[name] == [16, 64]
    assert sum(descriptor_stats(one).queued or 0 for one in group) == 16
    last = ruby("tcp", [name])[name]
    assert last[0] == 0 and last[1] <= 16


@needs_ruby
@needs_ss
def test_a_wildcard_differs_from_ruby(lab: Lab) -> None:
    """Asked for 127.0.0.1 where only 0.0.0.0 listens, Ruby counts the accepted connections to
    that address, but not the queued. We say that nobody listens there, as ss does."""
    listener = lab.listen("0.0.0.0")
    crowd(lab, listener, "127.0.0.1", 2, 1)
    exact = f"127.0.0.1:{port(listener)}"
    assert ours([exact]) == {exact: [0, 0]}
    assert ruby("tcp", [exact]) == {exact: [2, 0]}
    assert exact not in ss_tcp()


@needs_ruby
@needs_ss
def test_unix_listeners() -> None:
    """Unix paths and abstract names are equal to Ruby's, and to ss's queue and backlog."""
    with Lab() as lab, tempfile.TemporaryDirectory(prefix="grd") as folder:
        names = [f"{folder}/a", f"{folder}/b", f"{folder}/caf\u00e9", f"@grd-{os.getpid()}"]
        for i, name in enumerate(names):
            bound = name if name.startswith("/") else "\0" + name[1:]
            listener = lab.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(bound)
            listener.listen(20)
            for j in range(3 * i):
                client = lab.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(bound)
                if j < 2 * i:
                    lab.accept(listener)
        found = unix_listener_stats(names)
        assert {n: [s.active, s.queued] for n, s in found.items()} == ruby("unix", names)
        lines = [line.split() for line in run("ss", "-Hlxn").splitlines()]
        theirs = {name: [int(queued), int(limit)] for _, _, queued, limit, name, *_ in lines}
        assert {n: [s.queued, s.backlog] for n, s in found.items()} == {n: theirs[n] for n in names}


def listen_drops() -> int:
    """Return TcpExt's ListenDrops of this network namespace."""
    names, values = (
        line.split()
        for line in Path("/proc/net/netstat").read_text().splitlines()
        if line.startswith("TcpExt:")
    )
    return int(values[names.index("ListenDrops")])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_overflow(fork: Callable[..., Any], host: str) -> None:
    """A full queue holds one more than its limit. What the kernel drops then is counted to the
    packet: as many as were sent, and as its own ListenDrops has it."""
    child = fork(overflow, host)
    heard = child.link.hear()
    child.check()
    if heard != b"done":
        pytest.skip(f"no network namespace to be had: {heard.decode()}")


def overflow(link: Any, host: str) -> None:
    try:
        enter_own_network()
    except PermissionError as error:
        link.say(str(error).encode())
        return
    with Lab() as lab:
        listener = lab.listen(host, backlog=8)
        name = address(listener)
        for _ in range(9):
            lab.connect(host, port(listener))
        full = {name: ListenStats(0, 9, 8, 0)}
        assert settled(tcp_listener_stats, full) == full
        for dropped in (31, 62):
            for _ in range(31):
                knock(listener)
            full = {name: ListenStats(0, 9, 8, dropped)}
            assert settled(tcp_listener_stats, full) == full
            assert listen_drops() == dropped
            assert descriptor_stats(listener) == ListenStats(None, 9, 8, dropped)
            assert tcp_listener_stats(name) == full
    link.say(b"done")


def knock(listener: socket.socket) -> None:
    """Send one SYN, and give up before it would be sent again."""
    with socket.socket(listener.family) as client:
        client.setblocking(False)
        assert client.connect_ex(listener.getsockname()[:2]) == errno.EINPROGRESS


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.once
@pytest.mark.parametrize("kind", ["tcp", "all", "unix", "descriptor", "error"])
def test_thousands_of_calls_leave_nothing(lab: Lab, kind: str) -> None:
    """Neither descriptors nor memory stay behind, whether calls succeed or fail."""
    listener = lab.listen()
    names = [address(listener), "127.0.0.1:1"]
    sock = lab.enter_context(InetDiagSocket())
    no_diag: Any = listener
    turn = count()  # counting takes milliseconds after tests that left thousands in TIME_WAIT

    def error() -> None:
        with pytest.raises(OSError):
            tcp_listener_stats(names, no_diag)
        with pytest.raises(OSError):
            descriptor_stats(sock.fileno())

    calls = {
        "tcp": lambda: tcp_listener_stats(names, active=not next(turn) % 10),
        "all": lambda: tcp_listener_stats(None, sock, active=False),
        "unix": lambda: unix_listener_stats(["/x", "@y"]),
        "descriptor": lambda: descriptor_stats(listener.fileno()),
        "error": error,
    }
    for _ in range(500):
        calls[kind]()
    gc.collect()
    before = descriptors(), resident()
    for _ in range(3_000):
        calls[kind]()
    gc.collect()
    assert descriptors() == before[0]
    assert resident() - before[1] < 1 << 20
