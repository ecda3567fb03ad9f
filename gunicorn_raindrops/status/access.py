"""Who may read the status: a bearer token, and on the application's own listeners networks.

A request that a proxy forwards is never a local one: its peer is the proxy, which speaks for
somebody else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ..settings import Settings

FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "PROXY_PROTOCOL")
"""What in a WSGI environ says that the peer speaks for somebody else. PROXY_PROTOCOL: gunicorn has
read a PROXY line, whose addresses the client may have made up."""


class Access:
    """Says who may read, by the settings `token` and `allow`."""

    def __init__(self, settings: Settings) -> None:
        self._token = settings.token
        self._networks = settings.networks
        self._allows_unix = settings.allows_unix
        if settings.token is not None:
            import hmac  # not above: it imports hashlib, which a server without token does not need

            self._is_same = hmac.compare_digest

    def may_read(self, authorization: str | None) -> bool:
        """Tell whether an Authorization header has the token, if one is needed."""
        if self._token is None:
            return True
        scheme, _, given = (authorization or "").partition(" ")
        same = self._is_same(given.strip().encode(errors="replace"), self._token.encode())
        return same and scheme.lower() == "bearer"

    def admits(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether the peer of a request on the application's listener may ask. An empty
        REMOTE_ADDR is that of a unix socket."""
        if any(name in environ for name in FORWARDED):
            return False
        peer = environ.get("REMOTE_ADDR", "")
        if not peer:
            return self._allows_unix
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped  # an IPv4 client of a dual-stack listener
        return any(address in network for network in self._networks)
