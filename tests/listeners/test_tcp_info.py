"""TCPInfo against real sockets, the kernel's header, and shorter structs of older kernels."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gunicorn_raindrops.listeners import tcp_info
from gunicorn_raindrops.listeners.tcp_info import TCPInfo

from ..bounds import WAIT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")

HEADER = Path("/usr/include/linux/tcp.h")
BITS = {"snd_wscale", "rcv_wscale", "delivery_rate_app_limited", "fastopen_client_fail"}
BITS |= {"ecn_mode", "accecn_opt_seen", "accecn_fail_mode", "options2"}


class Kernel:
    """A socket whose kernel has this struct tcp_info."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return self.raw[:size]


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, ...]]:
    """A listener, a client that has sent 1,000 bytes, and its accepted socket."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family, backlog=9) as listener:
        with socket.create_connection(listener.getsockname()[:2], timeout=WAIT) as client:
            with listener.accept()[0] as accepted:
                client.sendall(b"x" * 1000)
                accepted.settimeout(WAIT)
                left = 1000
                while left:
                    left -= len(accepted.recv(left))
                yield listener, client, accepted


def test_a_connection(pair: tuple[socket.socket, ...]) -> None:
    """The figures of a connection are those of its traffic."""
    _, client, accepted = pair
    info = TCPInfo(accepted)
    assert info.state == 1
    assert info.bytes_received == 1000
    assert info.bytes_acked == 0
    assert info.data_segs_in and info.data_segs_in >= 1
    assert info.last_data_recv is not None and info.last_data_recv < 5000
    assert info.rtt and info.snd_cwnd and info.pmtu
    assert TCPInfo(client).bytes_sent == 1000
    assert 0 < (info.snd_wscale or 0) <= 14 and info.snd_wscale == TCPInfo(client).rcv_wscale


def test_a_listener(pair: tuple[socket.socket, ...]) -> None:
    """A listening socket has its accept queue in unacked and sacked."""
    listener = pair[0]
    info = TCPInfo(listener)
    assert (info.state, info.unacked, info.sacked) == (10, 0, 9)
    assert tcp_info.accept_queue(listener) == (0, 9)
    with pytest.raises(OSError):
        tcp_info.accept_queue(pair[1])


def test_a_descriptor(pair: tuple[socket.socket, ...]) -> None:
    """A descriptor does as well, and stays open."""
    accepted = pair[2]
    assert TCPInfo(accepted.fileno()).bytes_received == 1000
    assert accepted.getpeername() == pair[1].getsockname()


def test_what_is_no_tcp_socket() -> None:
    """Other sockets, files and closed descriptors are OSErrors."""
    with socket.socket(socket.AF_UNIX) as unix, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for sock in (unix, udp, unix.fileno(), 0, -1, 1 << 20):
            with pytest.raises(OSError):
                TCPInfo(sock)
    with pytest.raises(OSError):
        TCPInfo(udp)


def test_every_byte_of_this_kernel_is_named(pair: tuple[socket.socket, ...]) -> None:
    """The fields cover the struct, unless this kernel is newer than this package."""
    length = len(tcp_info.read(pair[0]))
    layout, names = tcp_info._layout(length)
    assert layout.size == min(length, 280)
    assert len(names) == len(set(names))


@pytest.mark.skipif(
    not (HEADER.exists() and shutil.which("gcc")), reason="needs linux/tcp.h and gcc"
)
def test_offsets_are_the_headers(tmp_path: Path) -> None:
    """Every field of the installed header is where the compiler puts it."""
    body = HEADER.read_text().split("struct tcp_info {")[1].split("};")[0]
    names = re.findall(r"tcpi_(\w+)(?=\s*[;:,])", body)
    plain = [name for name in names if name not in BITS]
    program = "#include <stddef.h>\n#include <stdio.h>\n#include <linux/tcp.h>\nint main(void) {\n"
    for name in plain:
        program += f'printf("{name} %zu\\n", offsetof(struct tcp_info, tcpi_{name}));\n'
    source, binary = tmp_path / "offsets.c", tmp_path / "offsets"
    source.write_text(program + "}\n")
    subprocess.run(["gcc", "-o", binary, source], check=True, timeout=60)
    output = subprocess.run([binary], check=True, timeout=WAIT, capture_output=True, text=True)
    expected = {line.split()[0]: int(line.split()[1]) for line in output.stdout.splitlines()}
    assert len(expected) > 30
    assert set(names) <= set(TCPInfo.__annotations__)
    for name, offset in expected.items():
        raw = bytearray(280)
        raw[offset] = 1 if sys.byteorder == "little" else 0
        if sys.byteorder == "little":
            assert getattr(TCPInfo(Kernel(bytes(raw))), name) == 1, name


@pytest.mark.parametrize(
    ("length", "last", "missing"),
    [
        (104, "total_retrans", "pacing_rate"),  # 2.6
        (120, "max_pacing_rate", "bytes_acked"),  # 3.15
        (144, "segs_in", "notsent_bytes"),  # 4.2
        (192, "sndbuf_limited", "delivered"),  # 4.10
        (232, "snd_wnd", "rcv_wnd"),  # 5.4
        (240, "rehash", "total_rto"),  # 6.2
        (248, "total_rto_time", "received_ce"),  # 6.7
        (280, "received_ce_bytes", None),  # 6.18
        (300, "received_ce_bytes", None),  # one to come
    ],
)
def test_other_kernels(length: int, last: str, missing: str | None) -> None:
    """What lies beyond the struct of an older kernel is None, not 0."""
    info = TCPInfo(Kernel(bytes(length)))
    assert getattr(info, last) == 0
    assert missing is None or getattr(info, missing) is None
    names = [name for name, _ in tcp_info._COLUMNS if not name.startswith("_")]
    known = [name for name in names if getattr(info, name) is not None]
    assert known == names[: len(known)]
    assert (info.delivery_rate_app_limited is None) == (length < 168)
    assert (info.fastopen_client_fail is None) == (length < 232)
    assert (info.accecn_opt_seen is None) == (length < 280)
    assert not any(name.startswith("_") for name in vars(info))


def test_a_field_that_is_cut_is_missing() -> None:
    """Half a field is none."""
    assert TCPInfo(Kernel(bytes(107))).pacing_rate is None


@pytest.mark.skipif(sys.byteorder != "little", reason="the bytes are written little-endian")
def test_bit_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit-fields are split as the compiler lays them out."""
    raw = bytearray(280)
    raw[6], raw[7] = 0x7A, 0b101
    raw[276:280] = (0x21, 0x43, 0x65, 0x87)
    info = TCPInfo(Kernel(bytes(raw)))
    assert (info.snd_wscale, info.rcv_wscale) == (10, 7)
    assert (info.delivery_rate_app_limited, info.fastopen_client_fail) == (1, 2)
    monkeypatch.setattr(tcp_info, "_ECN_BITS", False)
    info = TCPInfo(Kernel(bytes(raw)))
    assert (info.accecn_fail_mode, info.accecn_opt_seen) == (0x4321, 0x8765)
    assert (info.ecn_mode, info.options2) == (None, None)
    monkeypatch.setattr(tcp_info, "_ECN_BITS", True)
    info = TCPInfo(Kernel(bytes(raw)))
    assert (info.ecn_mode, info.accecn_opt_seen, info.accecn_fail_mode) == (1, 0, 2)
    assert info.options2 == 0x876543


def test_big_endian_bit_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """On big-endian machines bit-fields begin at the other end."""
    monkeypatch.setattr(sys, "byteorder", "big")
    assert tcp_info._bits(0xA7, 8, 4, 4) == [10, 7]
    assert tcp_info._bits(0b11000000, 8, 1, 2) == [1, 2]


RUBY = """
require "raindrops"; require "socket"; require "json"
info = Raindrops::TCP_Info.new(TCPSocket.for_fd(ARGV[0].to_i))
names = Raindrops::TCP_Info.instance_methods(false) - [:get!, :snd_wscale, :rcv_wscale]
puts JSON.generate(names.map { |n| [n, info.send(n)] }.to_h)
"""


@pytest.mark.skipif(
    not Path("/usr/share/doc/ruby-raindrops").exists(), reason="needs the package ruby-raindrops"
)
def test_it_equals_ruby_raindrops(pair: tuple[socket.socket, ...]) -> None:
    """On the same socket, Ruby's TCP_Info has our values. It knows no bit-fields here."""
    fd = pair[2].fileno()
    done = subprocess.run(
        ["ruby", "-e", RUBY, str(fd)],
        pass_fds=[fd],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    theirs, ours = json.loads(done.stdout), vars(TCPInfo(fd))
    for clock in ("last_data_sent", "last_data_recv", "last_ack_recv"):
        assert abs(theirs.pop(clock) - ours[clock]) < 5000
    assert len(theirs) > 20
    assert theirs == {name: ours[name] for name in theirs}


def test_repr(pair: tuple[socket.socket, ...]) -> None:
    """It shows what is known."""
    assert repr(TCPInfo(pair[2])).startswith("TCPInfo(state=1, ")
    assert "rto" not in repr(TCPInfo(Kernel(bytes(8))))
