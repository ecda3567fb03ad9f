"""How long a request has waited, as a proxy says in X-Request-Start or X-Queue-Start.

Proxies write Unix time as they like: in seconds, milli-, micro- or nanoseconds, with a fraction or
without, behind `t=` or not. The unit follows from the magnitude: 1e11 seconds are the year 5138,
1e11 milliseconds were 1973.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from . import scoreboard

NAMES = {"X-REQUEST-START", "X-QUEUE-START"}
_KEYS = tuple("HTTP_" + name.replace("-", "_") for name in sorted(NAMES))
_LOWER = {name.lower().encode() for name in NAMES}
LONGEST = 3600.0
"""Seconds. No request waits for longer; who says so has written something else."""

_TIME = re.compile(r"\s*(?:t=)?(\d{1,20})(?:\.(\d{1,20}))?\s*", re.ASCII)
# From which whole number on a time is in a unit, and how many digits of nanoseconds that lacks.
_UNITS = ((10**17, 0), (10**14, 3), (10**11, 6), (0, 9))


def parse(value: str) -> int | None:
    """Return the Unix time that a header says, ns; None if it says none."""
    found = _TIME.fullmatch(value)
    if found is None:
        return None
    whole, fraction = int(found[1]), found[2] or ""
    digits = next(digits for least, digits in _UNITS if whole >= least)
    return int(whole * 10**digits + int(f"{fraction:0<9}"[:digits] or 0))


class QueueHeader:
    """Records what proxies say that are trusted: whose forwarding headers gunicorn believes."""

    def __init__(self, forwarded_allow_ips: Iterable[Any]) -> None:
        """Trust these: addresses, networks, or * for all. A peer without address, as on a unix
        socket, is trusted, as by gunicorn."""
        allowed = [str(item) for item in forwarded_allow_ips]
        self._all = "*" in allowed
        self._networks = []
        for item in allowed:
            with contextlib.suppress(ValueError):  # a name: before 24 anything may stand there
                self._networks.append(ipaddress.ip_network(item, strict=False))
        self._is_in_network = functools.lru_cache(256)(self._look_up)

    def _look_up(self, host: str) -> bool:
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(host)
            return any(address in network for network in self._networks)
        return False

    def _trusts(self, host: str) -> bool:
        return not host or self._all or self._is_in_network(host)

    def record(self, peer: Any, headers: Iterable[tuple[str, str]]) -> None:
        """Record how long a request has waited, if its headers say so.

        Args:
            peer: its socket's, as `socket.accept` returns it.
            headers: names, in any case, and values.
        """
        if self._trusts(peer[0] if isinstance(peer, (tuple, list)) else ""):
            for name, value in headers:
                if name.upper() in NAMES:
                    return _record(value)
        return None

    def record_environ(self, environ: Mapping[str, Any]) -> None:
        """The same for a WSGI request."""
        for key in _KEYS:
            value = environ.get(key)
            if value is not None and self._trusts(environ.get("REMOTE_ADDR") or ""):
                return _record(value)
        return None

    def record_scope(self, scope: Mapping[str, Any]) -> None:
        """The same for an ASGI request."""
        for name, value in scope["headers"]:
            if name in _LOWER:
                client = scope.get("client")
                if self._trusts(client[0] if client else ""):
                    _record(value.decode("latin-1"))
                return


def _record(value: str) -> None:
    """What is no time, or one to come, or more than an hour ago, is counted as ignored."""
    began = parse(value)
    waited = -1 if began is None else time.time_ns() - began
    if 0 <= waited <= LONGEST * 1e9:
        scoreboard.queued(waited)
    else:
        scoreboard.queue_ignored()
