"""The reader of netlink replies: one broken reply at a time, then a fuzzer's hundred thousands."""

from __future__ import annotations

import errno
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .. import fuzzing

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's"),
    pytest.mark.once,
]

if sys.platform == "linux":
    from gunicorn_raindrops._native._diag import ffi, lib
    from gunicorn_raindrops.listeners import sock_diag

HERE = Path(__file__).parents[1]
FUZZ = HERE / "fuzz"
NATIVE = HERE.parent / "gunicorn_raindrops" / "_native"
REPLIES = sorted((FUZZ / "replies").glob("*.bin"))

SEQUENCE, PORT = 7, 4242
NOOP, ERROR, DONE, OVERRUN, DIAG = 1, 2, 3, 4, 20
INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
ESTABLISHED, LISTEN = 1, 10
SKMEMINFO = 7


def message(
    kind: int, body: bytes = b"", *, flags: int = 2, sequence: int = SEQUENCE, to: int = PORT
) -> bytes:
    head = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, to)
    return head + body + bytes(-len(body) % 4)


def row(state: int, *, port: int = 80, host: bytes = b"\x7f\0\0\1", inode: int = 5) -> bytes:
    family = 2 if len(host) == 4 else 10
    ports = struct.pack(">HH", port, 9)
    numbers = struct.pack("=IIIII", 0, 3, 8, 0, inode)
    return bytes([family, state, 0, 0]) + ports + host.ljust(16, b"\0") + bytes(28) + numbers


def attribute(kind: int, data: bytes, length: int | None = None) -> bytes:
    head = struct.pack("=HH", len(data) + 4 if length is None else length, kind)
    return head + data + bytes(-len(data) % 4)


def drops(number: int) -> bytes:
    return attribute(SKMEMINFO, struct.pack("=9I", *[0] * 8, number))


class Reader:
    """grd_parse with a table."""

    def __init__(self, room: int = 4) -> None:
        self.table = sock_diag._Table(room)
        self.reply: Any = ffi.new("struct grd_reply *")
        self.reply.table = self.table._table
        self.reply.sequence, self.reply.port = SEQUENCE, PORT

    def __call__(self, *parts: bytes) -> int:
        data = b"".join(parts)
        return int(lib.grd_parse(self.reply, ffi.from_buffer(data), len(data)))

    @property
    def figures(self) -> list[tuple[int, ...]]:
        return [(r.port, r.active, r.queued, r.backlog, r.dropped) for r in self.table.rows()]


@pytest.fixture
def read() -> Reader:
    return Reader()


def test_the_row_is_the_structs() -> None:
    """What Python unpacks is as long as what C fills in."""
    assert sock_diag._ROW.size == ffi.sizeof("struct grd_listener")


def test_a_whole_reply(read: Reader) -> None:
    """Listeners, their connections, the end."""
    assert read(message(DIAG, row(LISTEN) + drops(6))) == 0
    assert read(message(DIAG, row(ESTABLISHED)), message(DIAG, row(ESTABLISHED, inode=0))) == 0
    assert read(message(DONE, struct.pack("=i", 0))) == 1
    assert read.figures == [(80, 1, 3, 8, 6)]
    assert not read.reply.interrupted


def test_owners(read: Reader) -> None:
    """Connections go to their exact listener, else to the wildcard of port and family."""
    mapped = bytes(10) + b"\xff\xff\x7f\0\0\1"
    for host in (b"\x7f\0\0\1", bytes(4), bytes(16)):
        read(message(DIAG, row(LISTEN, host=host)))
    for host in (b"\x7f\0\0\1", b"\x7f\0\0\2", b"\x7f\0\0\2", mapped, mapped, mapped):
        read(message(DIAG, row(ESTABLISHED, host=host)))
    read(message(DIAG, row(ESTABLISHED, host=bytes(15) + b"\1", port=81)))
    assert [active for _, active, *_ in read.figures] == [1, 2, 3]


def test_one_address_adds_up(read: Reader) -> None:
    """Several sockets on one address are one row; an unknown part makes the sum unknown."""
    read(message(DIAG, row(LISTEN) + drops(6)), message(DIAG, row(LISTEN) + drops(1)))
    assert read.figures == [(80, 0, 6, 16, 7)]
    read(message(DIAG, row(LISTEN)))
    assert read.figures == [(80, 0, 9, 24, 2**64 - 1)]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EPERM, errno.EBUSY, 4095])
def test_errors(read: Reader, number: int) -> None:
    """An errno in ERROR and in DONE comes back as it is."""
    code = struct.pack("=i", -number)
    assert read(message(ERROR, code + bytes(16))) == -number
    assert read(message(DONE, code)) == -number


@pytest.mark.parametrize(
    ("broken", "number"),
    [
        (message(ERROR, struct.pack("=i", 0)), errno.EPROTO),
        (message(ERROR, struct.pack("=i", 5)), errno.EPROTO),
        (message(ERROR, struct.pack("=i", -4096)), errno.EPROTO),
        (message(ERROR, b"\1\2"), errno.EBADMSG),
        (message(ERROR), errno.EBADMSG),
        (message(DONE), errno.EBADMSG),
        (message(DONE, struct.pack("=i", -(2**31))), errno.EPROTO),
        (message(OVERRUN), errno.ENOBUFS),
        (message(DIAG), errno.EBADMSG),
        (message(DIAG, row(LISTEN)[:-1]), errno.EBADMSG),
        (message(DIAG, b"\2"), errno.EBADMSG),
        (message(DIAG, b"\1\1\1\0"), errno.EBADMSG),
        (message(DIAG, row(LISTEN) + attribute(SKMEMINFO, bytes(36), 3)), errno.EBADMSG),
        (message(DIAG, row(LISTEN) + attribute(SKMEMINFO, bytes(36), 0)), errno.EBADMSG),
        (message(DIAG, row(LISTEN) + attribute(SKMEMINFO, bytes(36), 41)), errno.EBADMSG),
        (message(DIAG)[:-1], errno.EBADMSG),
        (b"\0", errno.EBADMSG),
        (bytes(16), errno.EBADMSG),
        (struct.pack("=IHHII", 15, NOOP, 0, SEQUENCE, PORT), errno.EBADMSG),
        (struct.pack("=IHHII", 17, NOOP, 0, SEQUENCE, PORT), errno.EBADMSG),
        (struct.pack("=IHHII", 2**32 - 1, NOOP, 0, SEQUENCE, PORT), errno.EBADMSG),
    ],
)
def test_broken_replies(read: Reader, broken: bytes, number: int) -> None:
    """What is not as the kernel writes it is an error, and what came before is kept."""
    assert read(message(DIAG, row(LISTEN)), broken) == -number
    assert len(read.figures) == 1


@pytest.mark.parametrize(
    "foreign",
    [
        message(DIAG, row(LISTEN), sequence=SEQUENCE + 1),
        message(DIAG, row(LISTEN), to=PORT + 1),
        message(ERROR, struct.pack("=i", -1), sequence=0),
        message(DONE, struct.pack("=i", 0), to=0, flags=INTERRUPTED),
        message(DIAG + 1, row(LISTEN)),
        message(NOOP, row(LISTEN)),
        message(DIAG, b"\3" + row(LISTEN)[1:]),
        message(DIAG, row(3)),
        message(DIAG, row(ESTABLISHED)),
        b"",
    ],
)
def test_what_is_not_for_us(read: Reader, foreign: bytes) -> None:
    """Other sequences and ports, other types, families and states are passed over."""
    assert read(foreign) == 0
    assert read.figures == []
    assert not read.reply.interrupted


def test_unknown_attributes(read: Reader) -> None:
    """They are passed over, and a meminfo of older kernels tells no drops."""
    old = attribute(SKMEMINFO, bytes(32))
    assert read(message(DIAG, row(LISTEN) + attribute(99, b"x" * 7) + drops(2) + b"\0\0")) == 0
    assert read(message(DIAG, row(LISTEN, port=81) + old)) == 0
    assert [dropped for *_, dropped in read.figures] == [2, 2**64 - 1]


@pytest.mark.parametrize(("name", "kept"), [(b"/x\0", 2), (b"\0x\0", 3), (b"/" * 300, 108)])
def test_unix_names(read: Reader, name: bytes, kept: int) -> None:
    """Paths end at their NUL, abstract names do not, and none is longer than sun_path."""
    body = bytes([1, 1, LISTEN, 0]) + bytes(12) + attribute(0, name)
    assert read(message(DIAG, body)) == 0
    (found,) = read.table.rows()
    assert (found.length, found.name[:kept]) == (kept, name[:kept])
    assert (found.queued, found.backlog, found.dropped) == (2**64 - 1,) * 3


def test_the_table_is_full() -> None:
    """One listener too many is ENOSPC, and leaves the others."""
    read = Reader(room=2)
    parts = [message(DIAG, row(LISTEN, port=port)) for port in (1, 2, 1, 2, 3)]
    assert read(*parts[:4]) == 0
    assert read(parts[4]) == -errno.ENOSPC
    assert [port for port, *_ in read.figures] == [1, 2]


def test_an_interrupted_dump_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's mark is seen; the dump is repeated, but not for ever."""
    read = Reader()
    assert read(message(DIAG, row(LISTEN), flags=2 | INTERRUPTED)) == 0
    assert read.reply.interrupted
    codes = [1, 1, 0]
    monkeypatch.setattr(sock_diag._Table, "dump", lambda *args: codes.pop(0))
    assert sock_diag.read(None, b"") == []
    monkeypatch.setattr(sock_diag._Table, "dump", lambda *args: 1)
    with pytest.raises(BlockingIOError):
        sock_diag.read(None, b"")


def test_a_table_is_checked() -> None:
    """Sizes that the hashing could not live with are refused."""
    for room, count in ((0, 0), (3, 0), (4, 5)):
        table = sock_diag._Table(4)
        table._table.room, table._table.count = room, count
        assert table.dump(0, b"") == -errno.EINVAL


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ["recvfrom", "recv", "sendmsg", "getsockname", "poll", "clock_gettime"]
    wraps = ",".join(f"--wrap={name}" for name in names)
    sources = [FUZZ / "fuzz_inet_diag.c", NATIVE / "inet_diag.c", NATIVE / "netlink.c"]
    return fuzzing.compiled(
        tmp_path_factory.mktemp("fuzz"), f"-I{NATIVE}", f"-Wl,{wraps}", *sources
    )


@settings(max_examples=2)
@given(st.integers(0, 2**32 - 1))
def test_fuzz(fuzzer: Path, seed: int) -> None:
    """A hundred thousand mutated replies: no crash, no endless loop, no bad memory access."""
    assert len(REPLIES) > 8
    counts = fuzzing.counts(fuzzer, seed, 50_000, *REPLIES)
    assert counts["rounds"] == 50_000
    assert min(counts.values()) > 1000, counts
