"""TCP addresses as text, and the filter that has the kernel pass over other ports."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from functools import lru_cache
from struct import pack

# linux/inet_diag.h
_JMP = 1
_S_GE = 2

# A jump is 16 bits wide, and may go four bytes beyond the end.
_LONGEST = 0xFFFF - 4

Key = tuple[int, int, bytes]  # family, port, packed address


@lru_cache(maxsize=4096)
def parse(address: str) -> Key:
    """Return the family, port and packed address of `127.0.0.1:80` or `[::1]:80`.

    Raises:
        ValueError: it is neither.
        TypeError: it is not a string.
    """
    if not isinstance(address, str):
        raise TypeError(f"an address must be a string, not {type(address).__name__}")
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise _malformed(address)
    bracketed = host.startswith("[") and host.endswith("]")
    family = AF_INET6 if bracketed else AF_INET
    # A scope (`fe80::1%eth0`) is in no row's address.
    host = host[1:-1].partition("%")[0] if bracketed else host
    try:
        return family, int(port), inet_pton(family, host)
    except (OSError, ValueError):  # ValueError: a NUL, a surrogate
        raise _malformed(address) from None


def _malformed(address: str) -> ValueError:
    return ValueError(
        f"malformed address {address!r}: expected IPv4:PORT like '127.0.0.1:80' "
        "or [IPv6]:PORT like '[::1]:80', with a port from 1 to 65535"
    )


def text(key: Key) -> str:
    """Return the address as `parse` takes it."""
    family, port, packed = key
    host = inet_ntop(family, packed)
    return f"[{host}]:{port}" if family == AF_INET6 else f"{host}:{port}"


def port_filter(ports: frozenset[int]) -> bytes:
    """Return inet_diag bytecode that lets through sockets with these source ports alone.

    The kernel runs it for each of its sockets, so it is a binary search, not a list. All jumps
    go forward, as the kernel demands. Too many ports for its 16-bit jumps: none, which lets all
    through.
    """
    inside = sorted(ports)
    edges = [p for p in inside if p - 1 not in ports]
    edges += [p + 1 for p in inside if p + 1 not in ports and p < 65535]
    edges.sort()
    size = 12 * len(edges) + 4
    return _search(edges, 0, size) if size <= _LONGEST else b""


def _search(edges: list[int], below: int, left: int) -> bytes:
    """Return the search of `edges`, before which stand `below` others; `left` bytes to the end.

    A port is one of ours when an odd number of edges is not above it. Jumping to the end means
    yes, and four bytes beyond it no (inet_diag_bc_run in net/ipv4/inet_diag.c).
    """
    if not edges:
        return pack("BBH", _JMP, 4, left if below % 2 else left + 4)
    middle = len(edges) // 2
    upper = _search(edges[middle + 1 :], below + middle + 1, left - 8)
    lower = _search(edges[:middle], below, left - 8 - len(upper))
    test = pack("BBHBBH", _S_GE, 8, 8 + len(upper), 0, 0, edges[middle])
    return test + upper + lower
