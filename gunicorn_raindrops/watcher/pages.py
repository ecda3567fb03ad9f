"""The Watcher's pages: ASCII, so that no charset can be guessed wrong, and everything escaped.

A program may listen on an abstract unix name of any bytes. Names and what clients ask for are shown
by `printable`, cut, and escaped for HTML. In links they are percent-encoded to the last byte.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from collections.abc import Iterable, Mapping
from html import escape
from urllib.parse import quote

from ..exporters.printable import printable
from .sampling import KINDS

LONGEST_NAME = 120
"""Characters of a name that are shown; the longest path has 107 bytes (unix(7))."""

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;margin:1.5rem}"
    "table{border-collapse:collapse}"
    "td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #8886}"
    "td{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}"
    "pre{overflow-x:auto}form{margin:0}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy: nothing is loaded, and no other site may frame the buttons."""


def link(name: str) -> str:
    """Return a listener's name as it stands in a URL."""
    return quote(os.fsencode(name), safe="")


def shown(name: str) -> str:
    """Return a listener's name for a person, in one line."""
    text = printable(name[: LONGEST_NAME + 1])
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 3] + "..."


def index(at: float, listeners: Mapping[str, tuple[int, int]]) -> bytes:
    """Return the page of all listeners."""
    heads = "".join(f"<th scope='col'>{name}</th>" for name in ("address", *KINDS, "reset"))
    rows = [_listener_row(name, *listeners[name]) for name in sorted(listeners)]
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return _page(
        "all interfaces",
        [f"<p>Sampled at {moment}</p>", f"<table><tr>{heads}</tr>", *rows, "</table>"],
    )


def _listener_row(name: str, active: int, queued: int) -> str:
    text, linked = escape(shown(name)), link(name)
    cells = [f"<a href='tail/{linked}.txt' title='follow the samples'>{text}</a>"]
    for kind, number in zip(KINDS, (active, queued), strict=True):
        title = f"figures of {kind} connections"
        cells.append(f"<a href='{kind}/{linked}.html' title='{title}'>{number}</a>")
    cells.append(_form(f"reset/{linked}", "x", f"reset the figures of {text}"))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def listener(name: str, kind: str, headers: Iterable[tuple[str, str]], drawing: str) -> bytes:
    """Return the page of a listener's active or queued connections."""
    rows = [
        f"<tr><td>{escape(header.removeprefix('X-'))}</td><td>{escape(value)}</td></tr>"
        for header, value in headers
    ]
    form = _form(f"../reset/{link(name)}", "reset", "reset the figures of this listener")
    parts = [f"<p>{kind} connections</p><table>", *rows, "</table>"]
    parts += [f"<pre>{escape(drawing)}</pre>", form, "<p><a href='../'>all listeners</a></p>"]
    return _page(shown(name), parts)


def _form(action: str, label: str, title: str) -> str:
    button = f"<input type='submit' name='x' value='{label}' title='{title}' aria-label='{title}'>"
    return f"<form action='{action}' method='post'>{button}</form>"


def _page(title: str, parts: Iterable[str]) -> bytes:
    host, name = escape(shown(socket.gethostname())), escape(title)
    text = (
        "<!DOCTYPE html><html lang='en'><head>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{host} - {name}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{name}</h1>{''.join(parts)}</body></html>\n"
    )
    return text.encode("ascii", "xmlcharrefreplace")
