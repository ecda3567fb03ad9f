"""The Watcher's tail: a line for each sample, for as long as the client reads."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

from ..listeners.tcp_info import TCPInfo
from .pages import shown
from .sampling import KINDS, Sampler

_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,18})")
_ESTABLISHED = 1  # net/tcp_states.h


def least_of(query: str) -> tuple[int, ...]:
    """Return the fewest active and queued connections that a query string wants a line for."""
    asked = parse_qs(query)
    return tuple(_integer(asked.get(f"{kind}_min")) for kind in KINDS)


def _integer(values: list[str] | None) -> int:
    """Return the integer that a parameter begins with, else 0, as Ruby's to_i."""
    found = _INTEGER.match(values[-1]) if values else None
    return int(found[1]) if found else 0


def lines(
    sampler: Sampler, name: str, least: tuple[int, ...], has_gone: Callable[[], bool]
) -> Iterator[bytes]:
    """Yield a line for each sample that comes, and b"" for one that has none: some servers send
    the response's head then."""
    before = sampler.snapshot
    while not (now := sampler.wait(before.turn, None)).is_last:
        found = now.listeners.get(name)
        is_new = now.at != before.at  # else the kernel was asked, and failed
        before = now
        if found and is_new and all(map(int.__ge__, found, least)):
            yield _line(now.at, name, *found)
        elif has_gone():
            return
        else:
            yield b""


def _line(at: float, name: str, active: int, queued: int) -> bytes:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return f"{moment} {shown(name)} {active: 10d} {queued: 10d}\n".encode()


def has_gone(sock: Any) -> bool:
    """Tell whether the client of a TCP connection has closed it: nobody would notice before the
    next line, which may never come."""
    with contextlib.suppress(OSError):  # a unix socket, or one that the server has closed
        return sock is not None and TCPInfo(sock).state != _ESTABLISHED
    return False
