"""What the kernel knows about one TCP socket: TCPInfo, the struct tcp_info of linux/tcp.h, and what
a listener's own socket has beside it."""

from __future__ import annotations

import _socket
import errno
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from struct import Struct, calcsize
from typing import Any, TypeVar

__all__ = ["TCPInfo"]

_T = TypeVar("_T")

# The annotations of TCPInfo are the layout of the struct: what names these.
U8 = int
U16 = int | None
U32 = int | None
U64 = int | None
Bits = int | None  # of the byte or word that the first field of its group stands for
_FORMATS = {"U8": "B", "U16": "H", "U32": "I", "U64": "Q"}

_LARGEST = 1024  # more than any kernel's struct
_TCP_LISTEN = 10  # net/tcp_states.h
_QUEUE = Struct("=24xII")  # tcpi_unacked, tcpi_sacked
_SO_MEMINFO = 55  # asm-generic/socket.h
_DROPS = Struct("=32xI")  # SK_MEMINFO_DROPS u32s from the start, linux/sock_diag.h
_TCP_DEFER_ACCEPT = 9  # linux/tcp.h; other systems have no such option, and may not name it

# The last word was two u16 in Linux 6.18 and 6.19, and is bit-fields from 7.0 on; its length
# does not tell which.
_ECN_BITS = int(os.uname().release.partition(".")[0]) >= 7


class TCPInfo:
    """A copy of a TCP socket's struct tcp_info, taken when it is made.

    The attributes are the fields of linux/tcp.h without `tcpi_`, of Linux 2.6 to 7.0. Those that
    this kernel lacks are None. Times are microseconds where nothing else is said, rates bytes a
    second. Of a listening socket `unacked` is the length of the accept queue and `sacked` its
    limit.

    Args:
        sock: a connected or listening TCP socket (anything with `getsockopt`), or its descriptor.

    Raises:
        OSError: it is no TCP socket (EOPNOTSUPP, ENOTSOCK…), or this system is not Linux (ENOSYS).
    """

    state: U8  # net/tcp_states.h
    ca_state: U8
    retransmits: U8
    probes: U8
    backoff: U8
    options: U8  # TCPI_OPT_*
    _scales: U8
    _flags: U8
    rto: U32
    ato: U32
    snd_mss: U32  # bytes
    rcv_mss: U32
    unacked: U32  # packets
    sacked: U32
    lost: U32
    retrans: U32
    fackets: U32
    last_data_sent: U32  # milliseconds ago
    last_ack_sent: U32  # not kept by the kernel
    last_data_recv: U32
    last_ack_recv: U32
    pmtu: U32  # bytes
    rcv_ssthresh: U32
    rtt: U32
    rttvar: U32
    snd_ssthresh: U32
    snd_cwnd: U32  # packets
    advmss: U32
    reordering: U32
    rcv_rtt: U32
    rcv_space: U32
    total_retrans: U32
    pacing_rate: U64
    max_pacing_rate: U64
    bytes_acked: U64
    bytes_received: U64
    segs_out: U32
    segs_in: U32
    notsent_bytes: U32
    min_rtt: U32
    data_segs_in: U32
    data_segs_out: U32
    delivery_rate: U64
    busy_time: U64
    rwnd_limited: U64
    sndbuf_limited: U64
    delivered: U32
    delivered_ce: U32
    bytes_sent: U64
    bytes_retrans: U64
    dsack_dups: U32
    reord_seen: U32
    rcv_ooopack: U32
    snd_wnd: U32  # bytes
    rcv_wnd: U32
    rehash: U32
    total_rto: U16
    total_rto_recoveries: U16
    total_rto_time: U32  # milliseconds
    received_ce: U32
    delivered_e1_bytes: U32
    delivered_e0_bytes: U32
    delivered_ce_bytes: U32
    received_e1_bytes: U32
    received_e0_bytes: U32
    received_ce_bytes: U32
    _ecn: U32

    snd_wscale: Bits
    rcv_wscale: Bits
    delivery_rate_app_limited: Bits
    fastopen_client_fail: Bits
    ecn_mode: Bits
    accecn_opt_seen: Bits
    accecn_fail_mode: Bits
    options2: Bits

    def __init__(self, sock: Any) -> None:
        raw = read(sock)
        layout, known = _layout(len(raw))
        fields = self.__dict__
        fields.update(_NOTHING)
        fields.update(zip(known, layout.unpack_from(raw), strict=True))
        scales, flags, ecn = fields.pop("_scales"), fields.pop("_flags"), fields.pop("_ecn")
        self.snd_wscale, self.rcv_wscale = _bits(scales, 8, 4, 4)
        app_limited, fastopen = _bits(flags, 8, 1, 2)
        # Both were padding before the fields that came with them (4.9) or just before them (5.4).
        self.delivery_rate_app_limited = None if self.delivery_rate is None else app_limited
        self.fastopen_client_fail = None if self.snd_wnd is None else fastopen
        if ecn is not None:
            self._split_ecn(ecn)

    def _split_ecn(self, ecn: int) -> None:
        if _ECN_BITS:
            parts = _bits(ecn, 32, 2, 2, 4, 24)
            self.ecn_mode, self.accecn_opt_seen, self.accecn_fail_mode, self.options2 = parts
        else:
            self.accecn_fail_mode, self.accecn_opt_seen = _bits(ecn, 32, 16, 16)

    def __repr__(self) -> str:
        known = (f"{name}={value}" for name, value in vars(self).items() if value is not None)
        return f"TCPInfo({', '.join(known)})"


_COLUMNS = [(name, _FORMATS[u]) for name, u in TCPInfo.__annotations__.items() if u in _FORMATS]
_NOTHING = dict.fromkeys(TCPInfo.__annotations__)


@lru_cache(maxsize=8)
def _layout(length: int) -> tuple[Struct, list[str]]:
    """Return the fields that lie within `length` bytes. There is no padding between them."""
    shape, known = "=", []
    for name, column in _COLUMNS:
        if calcsize(shape + column) > length:
            break
        shape += column
        known.append(name)
    return Struct(shape), known


def _bits(word: int, size: int, *widths: int) -> list[int]:
    """Split C bit-fields, which begin at the end where the machine's byte order begins."""
    parts = []
    for width in widths:
        size -= width
        parts.append((word if sys.byteorder == "little" else word >> size) & ((1 << width) - 1))
        word = word >> width if sys.byteorder == "little" else word
    return parts


def borrow(fd: int, use: Callable[[Any], _T]) -> _T:
    """Call `use` with a plain socket object of a descriptor that stays its owner's."""
    if fd < 0:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    sock = _socket.socket(fileno=fd)
    try:
        return use(sock)
    finally:
        sock.detach()


def read(sock: Any) -> bytes:
    """Return a socket's struct tcp_info, as long as this kernel has it.

    Raises:
        OSError: it is no TCP socket, or this system is not Linux (ENOSYS).
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "TCP_INFO is Linux-only")
    if isinstance(sock, int):
        return borrow(sock, read)
    raw: bytes = sock.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, _LARGEST)
    return raw


def accept_queue(sock: Any) -> tuple[int, int]:
    """Return the length and the limit of a listener's accept queue.

    A listening socket has them in the places of unacked and sacked (tcp_get_info in
    net/ipv4/tcp.c).
    """
    raw = read(sock)
    if raw[0] != _TCP_LISTEN:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return _QUEUE.unpack_from(raw)


def dropped(sock: Any) -> int | None:
    """Return how many packets a listener has dropped since it began; None before Linux 4.12."""
    try:
        found = sock.getsockopt(_socket.SOL_SOCKET, _SO_MEMINFO, 64)
    except OSError:
        return None
    return _DROPS.unpack_from(found)[0] if len(found) >= _DROPS.size else None


def defers_accept(sock: Any) -> bool:
    """Tell whether a TCP listener, a socket object or a descriptor, has TCP_DEFER_ACCEPT set.

    Raises:
        OSError: it is no TCP socket.
    """
    if isinstance(sock, int):
        return borrow(sock, defers_accept)
    return bool(sock.getsockopt(_socket.IPPROTO_TCP, _TCP_DEFER_ACCEPT))


def defer_accept(socks: list[Any], on: bool) -> None:
    """Have the kernel hand connections over together with their first data, or no longer: those of
    TCP listeners; on other systems than Linux nothing is done."""
    for sock in socks:
        if sock.family != _socket.AF_UNIX and hasattr(_socket, "TCP_DEFER_ACCEPT"):
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_DEFER_ACCEPT, int(on))
