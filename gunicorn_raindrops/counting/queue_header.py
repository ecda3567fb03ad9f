"""How long a request has waited, as a proxy says in X-Request-Start or X-Queue-Start.

A proxy writes there when it got the request: Unix time in seconds, milli-, micro- or nanoseconds,
with a fraction or without, behind `t=` or not. The unit follows from the magnitude: 1e11 seconds
are the year 5138, 1e11 milliseconds were 1973.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from .request import queued_header, queued_ignored

NAMES = {"X-REQUEST-START", "X-QUEUE-START"}
_START, _QUEUE = "HTTP_X_REQUEST_START", "HTTP_X_QUEUE_START"
_LOWER = {name.lower().encode() for name in NAMES}

_INSTANT = re.compile(r"[ \t]*(?:t=)?([0-9]{1,20})(?:\.([0-9]{1,20}))?[ \t]*")
_LATEST = 2**63 - 1  # ns; in 2262
_HOUR = 3600 * 10**9


def instant(text: str) -> int | None:
    """Return the instant that a header says, in ns of Unix time; None if it says none."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        return None
    whole, fraction = int(found[1]), found[2] or ""
    digits = _digits_to_ns(whole)
    ns = int(found[1] + fraction[:digits].ljust(digits, "0"))
    return ns if ns <= _LATEST else None


def _digits_to_ns(whole: int) -> int:
    """Return how many decimal digits lie between the unit of a number and nanoseconds."""
    for digits, limit in ((9, 10**11), (6, 10**14), (3, 10**17)):
        if whole < limit:
            return digits
    return 0


def queued_since(text: str) -> None:
    """Record how long ago it was what a header says. An instant to come, or of more than an hour
    ago, is ignored: no request waits so long."""
    since = instant(text)
    waited = -1 if since is None else time.time_ns() - since
    if 0 <= waited <= _HOUR:
        queued_header(waited)
    else:
        queued_ignored()


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
            headers: names, in capitals, and values.
        """
        for name, value in headers:
            if name in NAMES:
                if self._trusts(peer[0] if isinstance(peer, (tuple, list)) else ""):
                    queued_since(value)
                return

    def record_environ(self, environ: Mapping[str, Any]) -> None:
        """The same for a WSGI request."""
        value = environ.get(_START) or environ.get(_QUEUE)
        if value is not None and self._trusts(environ.get("REMOTE_ADDR") or ""):
            queued_since(value)

    def record_scope(self, scope: Mapping[str, Any]) -> None:
        """The same for an ASGI request."""
        for name, value in scope["headers"]:
            if name in _LOWER:
                client = scope.get("client")
                if self._trusts(client[0] if client else ""):
                    queued_since(value.decode("latin-1"))
                return
