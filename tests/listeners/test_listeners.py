"""tcp_listener_stats, descriptor_stats and InetDiagSocket against real sockets."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from gunicorn_raindrops.listeners import (
    InetDiagSocket,
    ListenStats,
    descriptor_stats,
    queries,
    sock_diag,
    tcp_listener_stats,
)

from ..bounds import WAIT
from .listening import Lab, address, port, settled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sock_diag is Linux's")

NOBODY = ListenStats(0, 0, 0, 0)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


# What is counted.


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("accepted", "waiting"), [(0, 0), (1, 0), (0, 1), (3, 2)])
def test_one_address(lab: Lab, host: str, accepted: int, waiting: int) -> None:
    """Accepted connections are active, the others queued."""
    listener = lab.listen(host, backlog=9)
    for _ in range(accepted):
        lab.connect(host, port(listener))
        lab.accept(listener)
    for _ in range(waiting):
        lab.connect(host, port(listener))
    asked = address(listener)
    expected = {asked: ListenStats(accepted, waiting, 9, 0)}
    assert settled(lambda: tcp_listener_stats(asked), expected) == expected


def test_all_listeners(lab: Lab) -> None:
    """Asked for nothing in particular it reports every listener, under its canonical name."""
    listeners = [lab.listen("127.0.0.1"), lab.listen("::1"), lab.listen("0.0.0.0")]
    lab.connect("127.0.0.1", port(listeners[2]))
    lab.accept(listeners[2])

    def ours() -> list[ListenStats | None]:
        found = tcp_listener_stats()
        return [found.get(address(one)) for one in listeners]

    idle = ListenStats(0, 0, 16, 0)
    expected: list[ListenStats | None] = [idle, idle, ListenStats(1, 0, 16, 0)]
    assert settled(ours, expected) == expected


def test_keys_are_as_asked(lab: Lab) -> None:
    """Several spellings of one address are several keys."""
    listener = lab.listen("::1")
    asked = [f"[::1]:{port(listener)}", f"[0:0:0:0:0:0:0:1]:{port(listener)}"]
    assert list(tcp_listener_stats(asked)) == asked
    assert set(tcp_listener_stats(iter(asked)).values()) == {ListenStats(0, 0, 16, 0)}


def test_nobody_listens(lab: Lab) -> None:
    """An address without a listener has zeros, also when it is busy as a client's."""
    listener = lab.listen()
    client = lab.connect("127.0.0.1", port(listener))
    lab.accept(listener)
    assert tcp_listener_stats(address(client)) == {address(client): NOBODY}


def test_no_addresses() -> None:
    """None asked for, none reported."""
    assert tcp_listener_stats([]) == {}
    assert tcp_listener_stats(()) == {}


def test_wildcard(lab: Lab) -> None:
    """A wildcard has what came in by any address; that address itself has no listener."""
    listener = lab.listen("0.0.0.0")
    for _ in range(2):
        lab.connect("127.0.0.1", port(listener))
    lab.accept(listener)
    exact = f"127.0.0.1:{port(listener)}"
    asked = [address(listener), exact]
    expected = {address(listener): ListenStats(1, 1, 16, 0), exact: NOBODY}
    assert settled(lambda: tcp_listener_stats(asked), expected) == expected


def test_the_exact_listener_comes_first(lab: Lab) -> None:
    """Beside a wildcard, a listener on the very address has its connections to itself."""
    exact = lab.listen("127.0.0.1", reuse=True)
    wildcard = lab.listen("0.0.0.0", port=port(exact), reuse=True)
    lab.connect("127.0.0.1", port(exact))
    lab.accept(exact)
    for _ in range(2):
        lab.connect("127.0.0.2", port(exact))
        lab.accept(wildcard)
    asked = [address(exact), address(wildcard)]
    expected = {asked[0]: ListenStats(1, 0, 16, 0), asked[1]: ListenStats(2, 0, 16, 0)}
    assert settled(lambda: tcp_listener_stats(asked), expected) == expected


@pytest.mark.parametrize("host", ["::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"])
def test_dual_stack(lab: Lab, host: str) -> None:
    """IPv4 clients of an IPv6 listener are its own, and 0.0.0.0 has none of them."""
    listener = lab.listen(host)
    lab.connect("127.0.0.1", port(listener))
    lab.accept(listener)
    lab.connect("127.0.0.1", port(listener))
    v4 = f"0.0.0.0:{port(listener)}"
    expected = {address(listener): ListenStats(1, 1, 16, 0), v4: NOBODY}
    assert settled(lambda: tcp_listener_stats([address(listener), v4]), expected) == expected


def test_dual_stack_serves_both(lab: Lab) -> None:
    """A dual-stack wildcard counts both families."""
    listener = lab.listen("::")
    for host in ("127.0.0.1", "::1"):
        lab.connect(host, port(listener))
        lab.accept(listener)
    expected = {address(listener): ListenStats(2, 0, 16, 0)}
    assert settled(lambda: tcp_listener_stats(address(listener)), expected) == expected


def test_reuseport_adds_up(lab: Lab) -> None:
    """Four sockets on one address are one listener with four queues."""
    first = lab.listen(reuse=True, backlog=16)
    group = [first, *(lab.listen(port=port(first), reuse=True, backlog=16) for _ in range(3))]
    for _ in range(12):
        lab.connect("127.0.0.1", port(first))
    asked = address(first)
    expected = {asked: ListenStats(0, 12, 64, 0)}
    assert settled(lambda: tcp_listener_stats(asked), expected) == expected
    accepted = 0
    for one in group:
        while descriptor_stats(one).queued:
            lab.accept(one)
            accepted += 1
    assert accepted == 12
    assert tcp_listener_stats(asked) == {asked: ListenStats(12, 0, 64, 0)}


def test_closed_connections_are_not_active(lab: Lab) -> None:
    """Neither a connection that is gone nor one that a side has ended is established."""
    listener = lab.listen()
    for _ in range(3):
        lab.connect("127.0.0.1", port(listener))
    accepted = [lab.accept(listener) for _ in range(3)]
    asked = address(listener)
    for one, left in zip(accepted, (2, 1, 0), strict=True):
        one.shutdown(socket.SHUT_WR) if left else one.close()
        expected = {asked: ListenStats(left, 0, 16, 0)}
        assert settled(lambda: tcp_listener_stats(asked), expected) == expected


@pytest.mark.parametrize("count", [2, 200])
def test_many_addresses(lab: Lab, count: int) -> None:
    """However many are asked for, each has its own figures."""
    listeners = [lab.listen() for _ in range(count)]
    for i in range(0, count, 3):
        lab.connect("127.0.0.1", port(listeners[i]))
        lab.accept(listeners[i])
        lab.connect("127.0.0.1", port(listeners[i]))
    expected = {
        address(one): ListenStats(i % 3 == 0, i % 3 == 0, 16, 0) for i, one in enumerate(listeners)
    }
    asked = list(expected)
    assert settled(lambda: tcp_listener_stats(asked), expected) == expected
    assert tcp_listener_stats(asked, active=False) == {
        name: one._replace(active=None) for name, one in expected.items()
    }


def test_more_listeners_than_there_was_room_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is too small is made anew, larger; the dump that was given up is read to its
    end, or the kernel would refuse the next."""
    monkeypatch.setattr(sock_diag, "_ROOM", 1)
    listeners = [lab.listen() for _ in range(400)]  # more than one datagram
    lab.connect("127.0.0.1", port(listeners[0]))
    lab.accept(listeners[0])
    with InetDiagSocket() as sock:
        found = tcp_listener_stats(None, sock)
    assert found[address(listeners[0])] == ListenStats(1, 0, 16, 0)
    assert {address(one) for one in listeners} <= set(found)


def test_without_active(lab: Lab) -> None:
    """active=False leaves connections uncounted, and says so."""
    listener = lab.listen()
    lab.connect("127.0.0.1", port(listener))
    asked = address(listener)
    expected = {asked: ListenStats(None, 1, 16, 0)}
    assert settled(lambda: tcp_listener_stats(asked, active=False), expected) == expected
    assert tcp_listener_stats(active=False)[asked] == expected[asked]
    assert tcp_listener_stats("127.0.0.1:1", active=False)["127.0.0.1:1"].active is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_waiting(lab: Lab, host: str) -> None:
    """Those of the accepted connections wait that have bytes nobody has read; not the queued ones,
    whose client may have sent as much."""
    listener = lab.listen(host)
    asked = address(listener)
    clients = [lab.connect(host, port(listener)) for _ in range(3)]
    servers = [lab.accept(listener) for _ in clients]
    clients.append(lab.connect(host, port(listener)))
    for client in clients[1:]:
        client.sendall(b"GET / HTTP/1.1")

    def waiting() -> list[int | None]:
        found = tcp_listener_stats(asked)[asked]
        assert found.total in (3, 4)
        return [found.waiting, found.queued, tcp_listener_stats()[asked].waiting]

    assert settled(waiting, [2, 1, 2]) == [2, 1, 2]
    for server in servers[1:]:
        server.recv(10)
    assert waiting() == [2, 1, 2]
    servers[1].recv(10)
    assert waiting() == [1, 1, 1]
    for client, bytes_ in zip(clients, (8192, 8193, 1), strict=False):
        client.sendall(bytes(bytes_))
    assert settled(lambda: tcp_listener_stats(asked)[asked].bodies, 1) == 1
    assert waiting()[0] == 3
    assert tcp_listener_stats(asked, active=False)[asked].waiting is None
    assert tcp_listener_stats("127.0.0.1:1")["127.0.0.1:1"].waiting == 0


# From the descriptor.


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_descriptor_stats(lab: Lab, host: str) -> None:
    """A listener's own descriptor tells all but active, and stays open."""
    listener = lab.listen(host, backlog=7)
    for _ in range(2):
        lab.connect(host, port(listener))
    expected = ListenStats(None, 2, 7, 0)
    assert settled(lambda: descriptor_stats(listener), expected) == expected
    assert descriptor_stats(listener.fileno()) == expected
    assert listener.getsockname()[0] == host


def test_descriptor_stats_of_what_does_not_listen(lab: Lab) -> None:
    """Connected, datagram and closed sockets and files are errors, not zeros."""
    listener = lab.listen()
    client = lab.connect("127.0.0.1", port(listener))
    datagram = lab.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    for sock in (client, datagram, client.fileno()):
        with pytest.raises(OSError):
            descriptor_stats(sock)
    with open(os.devnull) as file, pytest.raises(OSError) as caught:
        descriptor_stats(file.fileno())
    assert caught.value.errno == errno.ENOTSOCK


# The socket, the errors.


def test_the_socket_is_reusable(lab: Lab) -> None:
    """One InetDiagSocket serves any number of readings, and closes."""
    asked = address(lab.listen())
    with InetDiagSocket() as sock:
        assert sock.fileno() >= 0
        assert tcp_listener_stats(asked, sock) == tcp_listener_stats(asked, sock=sock)
        assert asked in tcp_listener_stats(sock=sock)
    assert sock.fileno() == -1
    sock.close()
    with pytest.raises(OSError) as caught:
        tcp_listener_stats(asked, sock)
    assert caught.value.errno == errno.EBADF


def test_another_kind_of_socket_is_refused_and_left_alone(lab: Lab) -> None:
    """A descriptor that is not netlink's loses none of its data."""
    ours, theirs = socket.socketpair()
    lab.enter_context(ours)
    lab.enter_context(theirs)
    theirs.send(b"precious")
    with pytest.raises(OSError):
        tcp_listener_stats("127.0.0.1:1", ours)  # type: ignore[arg-type]
    assert ours.recv(9) == b"precious"


@pytest.mark.parametrize("request_", [b"", b"\0" * 8, b"\xff" * 16, b"\x10\0\0\0" + b"\xff" * 12])
def test_errors_of_the_kernel_are_raised(request_: bytes) -> None:
    """Requests that are no messages, and messages that the kernel refuses, are OSErrors."""
    if not request_:
        assert sock_diag.read(None, request_) == []
        return
    with pytest.raises(OSError):
        sock_diag.read(None, request_)


def test_an_unknown_protocol_is_an_error(lab: Lab) -> None:
    """The kernel ends such a dump with an errno in DONE: it is not an empty answer."""
    request = bytearray(queries.tcp(socket.AF_INET, True, frozenset()))
    request[17] = 99  # sdiag_protocol
    with InetDiagSocket() as sock:
        with pytest.raises(FileNotFoundError):
            sock_diag.read(sock, bytes(request))
        assert address(lab.listen()) in tcp_listener_stats(sock=sock)


@pytest.mark.parametrize(
    "bad",
    [
        "", "127.0.0.1", "localhost:80", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
        "127.0.0.1:http", "127.0.0.1:+80", "127.0.0.1:8 0", "::1:80", "[127.0.0.1]:80",
        "[::1]", "[::1]:", ":80", "*:80", "256.0.0.1:80", "127.1:80", "unix:/x", "[::1:80",
        "127.0.0.1:\u0668\u0660", "127.0.0.1:" + "9" * 5000, "127.0.0.1\0:80", "\udc80:80",
    ],
)  # fmt: skip
def test_malformed_addresses(bad: str) -> None:
    """Whatever is not an address is a ValueError that names it and says what is one."""
    with pytest.raises(ValueError) as caught:
        tcp_listener_stats(["127.0.0.1:80", bad])
    assert repr(bad) in str(caught.value)
    assert "'127.0.0.1:80'" in str(caught.value)


@pytest.mark.parametrize("bad", [80, b"127.0.0.1:80", [80], [None], [b"127.0.0.1:80"], [["x"]]])
def test_wrong_types(bad: object) -> None:
    """An address is a string."""
    with pytest.raises(TypeError):
        tcp_listener_stats(bad)  # type: ignore[arg-type]


def test_a_scope_is_passed_over(lab: Lab) -> None:
    """Link-local addresses may have their scope, as getsockname shows it."""
    assert tcp_listener_stats("[fe80::1%lo]:80") == {"[fe80::1%lo]:80": NOBODY}


def test_total() -> None:
    """The total is known when both of its parts are."""
    assert ListenStats(2, 3, 8, 0).total == 5
    assert ListenStats(None, 3, 8, 0).total is None
    assert ListenStats(2, None, 8, 0).total is None
    assert ListenStats(2, 3, 8, 0, waiting=1) == (2, 3, 8, 0)
    assert ListenStats(2, 3, 8, 0)._replace(active=1).waiting is None
    with pytest.raises(AttributeError):
        ListenStats(1, 2, 3, 4).active = 5  # type: ignore[misc]


def test_two_threads_with_a_socket_each(lab: Lab) -> None:
    """Readings in threads do not disturb one another."""
    listener = lab.listen()
    lab.connect("127.0.0.1", port(listener))
    asked = address(listener)
    expected = {asked: ListenStats(0, 1, 16, 0)}
    assert settled(lambda: tcp_listener_stats(asked), expected) == expected
    wrong: list[object] = []

    def reader() -> None:
        with InetDiagSocket() as sock:
            wrong.extend(
                got for _ in range(100) if (got := tcp_listener_stats(asked, sock)) != expected
            )

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert not wrong and not any(thread.is_alive() for thread in threads)


# The filter.


def run_filter(code: bytes, sport: int) -> bool:
    """Run bytecode as the kernel does (inet_diag_bc_run in net/ipv4/inet_diag.c)."""
    at = 0
    while at < len(code):
        op, yes, no = code[at], code[at + 1], int.from_bytes(code[at + 2 : at + 4], sys.byteorder)
        operand = int.from_bytes(code[at + 6 : at + 8], sys.byteorder)
        at += yes if op == 2 and sport >= operand else no
    return at == len(code)


@pytest.mark.parametrize(
    "ports", [{1}, {65535}, {1, 65535}, {80, 81, 82, 443}, set(range(2, 4000, 2)), {8000, 8002}]
)
def test_port_filter(ports: set[int]) -> None:
    """The bytecode admits exactly the ports asked for."""
    code = queries._port_filter(frozenset(ports))
    near = {p + d for p in ports for d in (-1, 0, 1)} - {65536} | {1, 1024, 65535}
    assert {p for p in near if run_filter(code, p)} == ports & near


def test_port_filter_has_limits() -> None:
    """More ports than its jumps can span are not filtered at all."""
    assert queries._port_filter(frozenset(range(1, 60000, 2))) == b""
