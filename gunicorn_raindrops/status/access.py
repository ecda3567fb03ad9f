"""Who may read the status: a bearer token, a page's origin, and on the application's own listeners
networks.

A page in an operator's browser reaches what the operator's machine reaches. It cannot read another
site's answers, unless its own name has come to mean the status address (DNS rebinding). So a name
in Host must be one that is known. Readers with the token prove more than a name does.

A request that a proxy forwards is never a local one: its peer is the proxy, which speaks for
somebody else.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..settings import Settings

_PROXIED = re.compile(
    r"PROXY_PROTOCOL"  # gunicorn has read a PROXY line, whose addresses the client may have made up
    r"|HTTP_(?:.*FORWARD.*|(?:.*_)?VIA|MAX_FORWARDS|CDN_.*|SURROGATE_CAPABILITY|PROXY_CONNECTION"
    r"|.*(?:CLIENT|REAL|CONNECTI(?:NG|ON)|REMOTE|USER|ORIGINATING|SOCKET|SOURCE|SRC|PEER)_?IP"
    r"(?:V?[46])?"
    r"|(?:.*_)?(?:REMOTE|REAL|CLIENT|PEER)_?ADDR(?:ESS)?|X_ENVOY_.*|X_(?:REQUEST|QUEUE)_START"
    r"|X_(?:URL_)?SCHEME|X_HOST|(?:FRONT_END|X)_HTTPS|X_(?:REWRITE_URL|SENDFILE_TYPE|IINFO|NF_.*)"
    r"|(?:X_)?(?:CF|FASTLY|AKAMAI|AZURE|APPENGINE|AMZN?|VARNISH|VERCEL|FLY|ORIGINAL|PROXY"
    r"|NGINX|ACCEL|ARR|KONG|TRAEFIK|INGRESS|TAILSCALE|GOOG|CLOUD_TRACE|MS_CLIENT"
    r"|SSL|TLS|CLIENT_(?:CERT|VERIFY|DN)|REMOTE_USER|AUTH_REQUEST|SCRIPT_NAME)(?:_.*)?)"
)
"""The names in a WSGI environ that are signs of a proxy: the peer speaks for somebody else."""

_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::[0-9]*)?")


def is_proxied(environ: Mapping[str, Any]) -> bool:
    """Tell whether a request bears any sign of a proxy."""
    return any(map(_PROXIED.fullmatch, environ))


class Sender(NamedTuple):
    """What the headers of a request say of the page that sends it; None: there is no such one."""

    host: str | None = None
    origin: str | None = None
    fetch_site: str | None = None

    @property
    def is_foreign_page(self) -> bool:
        """Whether a browser says that a page of another origin sends it."""
        if (self.fetch_site or "").lower() == "cross-site":
            return True
        own = [f"{scheme}://{self.host}".lower() for scheme in ("http", "https")]
        return self.origin is not None and self.origin.lower() not in own


class Access:
    """Says who may read, by the settings `token`, `bind` and `allow`."""

    def __init__(self, settings: Settings) -> None:
        self._token = settings.token
        self._networks = settings.networks
        self._allows_unix = settings.allows_unix
        self._names = {"localhost", settings.host}
        self._is_open = settings.token is None and settings.host is not None
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

    def trusts_page(self, sender: Sender) -> bool:
        """Tell whether no foreign page sends a request to the status address.

        Where a token is needed, or over a unix socket, no page can ask.
        """
        return not (self._is_open and sender.is_foreign_page)

    def knows_host(self, sender: Sender) -> bool:
        """Tell whether a request names the status address by a name that nobody else can give it:
        an IP address, localhost, or the one in `bind`."""
        if not (self._is_open and sender.host):
            return True
        parts = _HOST.fullmatch(sender.host)
        if parts is None:
            return False
        name = (parts[1] or parts[2] or "").lower().removesuffix(".")
        return name in self._names or _is_address(name)

    def admits(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether the peer of a request on the application's listener may ask. An empty
        REMOTE_ADDR is that of a unix socket."""
        if is_proxied(environ):
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


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
