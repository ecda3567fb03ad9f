"""The live page: one file, its script and its style inside, which asks for PATH.json each second.

The page holds no figures, so it is answered without the token; what it asks for is not. It is read
once, before the status thread runs, which must not wait for a disk.

Its Content-Security-Policy allows the script and the style that are in the file, by their hashes,
and connections to its own origin. Nothing that a status contains can become a script there: the
page writes text, and Trusted Types turn every other kind of writing into an error.
"""

from __future__ import annotations

import functools
import html
import re
from pathlib import Path
from typing import NamedTuple

HTML = "text/html; charset=utf-8"
FILE = Path(__file__).with_name("page.html")
PATH_MARK = b"PATH-OF-THE-STATUS"
TOKEN_MARK = b"IS-A-TOKEN-NEEDED"

_RULES = (
    "default-src 'none'",
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
)
_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class Page(NamedTuple):
    """The page as it is in the package, and the headers that it is sent with."""

    source: bytes
    headers: tuple[tuple[str, str], ...]

    def body(self, path: str, needs_token: bool) -> bytes:
        """Return the page for a status at a path."""
        asks = b"yes" if needs_token else b"no"
        named = self.source.replace(PATH_MARK, html.escape(path).encode(), 1)
        return named.replace(TOKEN_MARK, asks, 1)


@functools.cache
def load() -> Page | None:
    """Return the page; None if its file cannot be read, which costs that one answer."""
    try:
        source = FILE.read_bytes()
    except OSError:
        return None
    headers = (
        ("Content-Security-Policy", _policy(source)),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("X-Frame-Options", "DENY"),
        ("Vary", "Accept"),
    )
    return Page(source, headers)


def _policy(source: bytes) -> str:
    inline = [f"{kind.decode()}-src '{_hash(text)}'" for kind, text in _INLINE.findall(source)]
    return "; ".join([*_RULES, *inline])


def _hash(text: bytes) -> str:
    import binascii  # not above: neither is needed where no page is served
    import hashlib

    digest = hashlib.sha256(text).digest()
    return f"sha256-{binascii.b2a_base64(digest, newline=False).decode()}"


def prefers_html(accept: str | None) -> bool:
    """Tell whether a client names HTML, and wants it more than plain text: a browser does. `*/*`
    names nothing."""
    wanted = dict(_ranges(accept or ""))
    page = wanted.get("text/html", 0.0)
    text = next((wanted[kind] for kind in ("text/plain", "text/*", "*/*") if kind in wanted), 0.0)
    return page > text


def _ranges(accept: str) -> list[tuple[str, float]]:
    """Return the media ranges of an Accept header, each with its weight (RFC 9110, 12.5.1)."""
    found = []
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weights = [piece[2:] for piece in parameters if piece.startswith("q=")]
        found.append((kind, _weight(weights[0]) if weights else 1.0))
    return found


def _weight(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](?:\.[0-9]{0,3})?", text, re.ASCII) else 0.0
