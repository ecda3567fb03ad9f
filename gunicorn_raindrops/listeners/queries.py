"""What the kernel is asked: the requests of sock_diag(7), composed with pyroute2's message classes.

Importing pyroute2 takes some 150 ms and 10 MiB, and composing a request 30 µs. So both happen once,
in the arbiter before it forks; the requests are kept, and the workers share them.
"""

from __future__ import annotations

import _socket
import contextlib
import errno
import importlib.util
import sys
from functools import lru_cache
from struct import pack
from types import ModuleType
from typing import Any

from .. import sharing

_SKMEMINFO = 1 << 6  # INET_DIAG_SKMEMINFO - 1, linux/inet_diag.h
_JMP, _S_GE = 1, 2  # INET_DIAG_BC_*, linux/inet_diag.h
_SOCKETS = "pyroute2.netlink.nlsocket"
_LONGEST = 0xFFFF - 4  # a jump is 16 bits wide, and may go four bytes beyond the end


@lru_cache(maxsize=1)
def load() -> Any:
    """Import pyroute2's `diag`, and return it; None where it is not there. To be called before a
    thread runs that must not import: a later call executes no import."""
    try:
        from pyroute2.netlink import diag
    except ImportError:
        return None
    return diag


def load_alone() -> None:
    """Import `diag` without the rest of pyroute2, which takes most of the time and memory: for a
    command that answers once, and for an arbiter, whose workers all have it. What is imported is
    this module's own copy. To be called where no other thread may import pyroute2 meanwhile."""
    is_loaded = load.cache_info().currsize or "pyroute2" in sys.modules
    spec = None if is_loaded else importlib.util.find_spec("pyroute2")
    if spec is None:
        return
    with sharing.apart("pyroute2"), contextlib.suppress(Exception):  # other versions may need more
        sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)  # not executed
        sys.modules[_SOCKETS] = _Sockets(_SOCKETS)
        load()
    if load() is None:
        load.cache_clear()


class _Sockets(ModuleType):
    """Stands in for pyroute2's sockets, which bring asyncio along: `diag` derives classes of theirs
    that nobody uses here."""

    Marshal = NetlinkSocket = object


def _diag() -> Any:
    diag = load()
    if diag is None:
        message = "the figures of listeners are Linux-only, and need pyroute2"
        raise OSError(errno.ENOSYS, message)
    return diag


@lru_cache(maxsize=1)
def _inet_request() -> Any:
    """Return the class of requests for TCP. Pyroute2's own has no attributes; these are those of
    linux/inet_diag.h, in their order."""

    class Request(_diag().inet_diag_req):  # type: ignore[misc]
        nla_map = (("INET_DIAG_REQ_NONE", "none"), ("INET_DIAG_REQ_BYTECODE", "cdata"))

    return Request


@lru_cache(maxsize=16)  # with thousands of ports in its filter one has 60 kB
def tcp(family: int, listening: bool, ports: frozenset[int]) -> bytes:
    """Return the request for the sockets of some ports, or of any port if there are none.

    Args:
        family: AF_INET or AF_INET6.
        listening: those that listen; else the established ones.
        ports: of the local end. The kernel takes them as a hint only: more may be answered.
    """
    diag, request = _diag(), _inet_request()()
    request["sdiag_family"] = family
    request["sdiag_protocol"] = _socket.IPPROTO_TCP
    request["idiag_states"] = 1 << _state(listening)
    request["idiag_ext"] = _SKMEMINFO if listening else 0
    if len(ports) == 1:
        (request["idiag_sport"],) = ports
    # Not for those that listen: checking it takes the kernel longer than a few more rows.
    elif ports and not listening and (code := _port_filter(ports)):
        request["attrs"] = [("INET_DIAG_REQ_BYTECODE", code)]
    return _encoded(diag, request)


@lru_cache(maxsize=2)
def unix(listening: bool) -> bytes:
    """Return the request for unix sockets: those that listen, or the connected ones."""
    diag = _diag()
    request = diag.unix_diag_req()
    request["sdiag_family"] = _socket.AF_UNIX
    request["udiag_states"] = 1 << _state(listening)
    request["udiag_show"] = diag.UDIAG_SHOW_NAME | diag.UDIAG_SHOW_VFS | diag.UDIAG_SHOW_RQLEN
    return _encoded(diag, request)


def _state(listening: bool) -> int:
    diag = _diag()
    return int(diag.SS_LISTEN if listening else diag.SS_ESTABLISHED)


def _encoded(diag: Any, request: Any) -> bytes:
    """Return a message's bytes. The native side numbers it."""
    request["header"]["type"] = diag.SOCK_DIAG_BY_FAMILY
    request["header"]["flags"] = diag.NLM_F_REQUEST | diag.NLM_F_ROOT | diag.NLM_F_MATCH
    request.encode()
    return bytes(request.data)


def _port_filter(ports: frozenset[int]) -> bytes:
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
