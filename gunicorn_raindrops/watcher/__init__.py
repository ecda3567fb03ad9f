"""A WSGI application that watches listeners of any server on this machine: `Watcher`.

Who owns what. Each process that serves it has a sampler of its own, with a thread that starts at
the first request. A child that was forked later makes another one and counts from there. It is
found by the number of forks behind a process, so there is no lock that could be held at a fork.

A page of another site can make a browser send a POST, so a reset is refused where the browser's
headers name a foreign page. A redirect leads to a path of this application that is put together
here; what a client sends in Host or Referer is only compared.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from socket import AF_UNIX
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit
from wsgiref.handlers import format_date_time as http_date

from .._native._objects import forks
from ..listeners import ListenStats, addresses, tcp_listener_stats, unix_listener_stats
from ..status import expose
from ..status.access import Sender
from . import pages, tail
from .answers import NOT_FOUND, Response, figures_headers, html, text
from .sampling import KINDS, Sampler

_FIGURES = re.compile(r"/(active|queued)/(.+)\.(txt|html)", re.DOTALL)
_TAIL = re.compile(r"/tail/(.+)\.txt", re.DOTALL)
_RESET = re.compile(r"/reset/(.+)", re.DOTALL)
_LONGEST_DELAY = 1e9


class Watcher:
    """Show the connections of listeners, now and since the start, and stream them.

        app = Watcher(["0.0.0.0:80", "/run/nginx.sock"])

    Routes, GET and HEAD; ADDR is a listener's address, percent-encoded:
        /: text/html, all listeners with their active and queued connections.
        /active/ADDR.txt, /queued/ADDR.txt: text/plain, a histogram of the samples, drawn in 80
            columns, and the X-* headers below.
        /active/ADDR.html, /queued/ADDR.html: text/html, the same as a page, and a button to reset.
        /tail/ADDR.txt: text/plain, a line for each sample, as it is taken, until the client goes:
            timestamp (ISO 8601, UTC), ADDR, active, queued. With ?active_min=N&queued_min=N a
            sample with fewer of either has no line.

    POST:
        /reset/ADDR: the figures of a listener begin anew; 302 to the page that the request comes
            from or to /, once there is a sample again. 403 if a browser says that a page of
            another site sends it (Origin, Sec-Fetch-Site), 404 for a listener that never was.

    Any other path is answered with 404, any other method with 405. Of a listener that is not there
    the figures are empty (X-Count 0), and its tail waits for it.

    Response headers of active and queued:
        X-Count: samples since the last reset.
        X-Min, X-Max, X-Mean: of their connections; X-Min and X-Max are empty and X-Mean is NaN
            where X-Count is 0.
        X-Std-Dev: their standard deviation (divided by count - 1); NaN where X-Count is below 2.
        X-Outliers-Low: samples of no connection, which are in no bucket of the histogram.
        X-Outliers-High: samples of 2**127 connections or more.
        X-Current: connections in the last sample.
        X-Last-Reset: when the figures began: the last reset, or the process's first request.
            HTTP date, as all of these instants.
        X-First-Peak-At: when X-Max was first reached.
        X-Last-Peak-At: when X-Max was last reached. A reset keeps both until they are reached anew.
        Expires: when the next sample is due. On / as well, and Last-Modified: the last sample.

    The headers and routes are those of Ruby's Raindrops::Watcher 0.20. Other than there, unix
    listeners are among all listeners, too, and a server chunks a tail by itself where HTTP/1.1
    is spoken.

    It is for a server with threads or greenlets: each tail has one for itself. Each process of a
    server has samples of its own, so one process is best.

    Args:
        listeners: addresses as the status shows them: `127.0.0.1:80`, `[::]:80`, a path or `@name`;
            one or several. None, or empty: every TCP and unix listener of this network namespace,
            also those that come later.
        delay: seconds between samples.

    Raises:
        ValueError: an address is malformed, or `delay` is not above 0.
        TypeError: one of them has another type.
    """

    def __init__(self, listeners: str | Iterable[str] | None = None, delay: float = 1.0) -> None:
        if not 0 < delay < _LONGEST_DELAY:
            raise ValueError(f"delay must be seconds above 0, not {delay!r}")
        self._read = _reader([listeners] if isinstance(listeners, str) else list(listeners or ()))
        self._delay = delay
        self._samplers: dict[int, Sampler] = {}
        forks()  # they are counted from the first call on

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        response = self._respond(environ)
        start_response(response.status_line, response.all_headers())
        return () if environ["REQUEST_METHOD"] == "HEAD" else response.body

    def close(self) -> None:
        """End this process's sampler and its tails. A later request begins with a new one."""
        sampler = self._samplers.pop(forks(), None)
        if sampler is not None:
            sampler.close()

    def _sampler(self) -> Sampler:
        sampler = self._samplers.get(forks())
        if sampler is None:
            new = Sampler(self._read, self._delay, expose.warner())
            sampler = self._samplers.setdefault(forks(), new)
        sampler.start()
        return sampler

    def _respond(self, environ: Mapping[str, Any]) -> Response:
        path, method = _path(environ), environ["REQUEST_METHOD"]
        if method == "POST":
            return self._post(path, environ)
        if method not in ("GET", "HEAD"):
            return text(405, "only GET, HEAD and POST\n", [("Allow", "GET, HEAD, POST")])
        if path == "/":
            return self._index()
        if found := _FIGURES.fullmatch(path):
            return self._figures(*found.groups())
        if found := _TAIL.fullmatch(path):
            return self._tail(found[1], environ)
        return NOT_FOUND

    def _index(self) -> Response:
        snapshot = self._sampler().snapshot
        headers = [("Last-Modified", http_date(snapshot.at)), self._expires(snapshot.at)]
        return html(pages.index(snapshot.at, snapshot.listeners), headers)

    def _expires(self, at: float) -> tuple[str, str]:
        return "Expires", http_date(at + self._delay)

    def _figures(self, kind: str, name: str, form: str) -> Response:
        figures = self._sampler().figures(name, KINDS.index(kind))
        headers = figures_headers(figures)
        drawing = str(figures.aggregate)
        if form == "txt":
            return text(200, drawing, [*headers, self._expires(figures.at)])
        body = pages.listener(name, kind, headers, drawing)
        return html(body, [*headers, self._expires(figures.at)])

    def _tail(self, name: str, environ: Mapping[str, Any]) -> Response:
        headers = [
            ("Content-Type", "text/plain"),
            ("Cache-Control", "no-transform"),
            ("Expires", http_date(0)),
        ]
        # the second name is gevent_pywsgi's
        sock = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")
        least = tail.least_of(environ.get("QUERY_STRING", ""))
        lines = tail.lines(self._sampler(), name, least, partial(tail.has_gone, sock))
        return Response(200, headers, lines)

    def _post(self, path: str, environ: Mapping[str, Any]) -> Response:
        found = _RESET.fullmatch(path)
        if found is None:
            return NOT_FOUND
        if _sender(environ).is_foreign_page:
            return text(403, "not for pages of other sites\n")
        if not self._sampler().reset(found[1]):
            return NOT_FOUND
        url = _page_of(environ)
        return text(302, f"reset; see {url}\n", [("Location", url)])


# What is asked.


def _reader(listeners: list[str]) -> Callable[[], dict[str, ListenStats]]:
    """Return a function that reads these listeners, or all if there are none."""
    if any(not isinstance(one, str) for one in listeners):
        raise TypeError("a listener must be a string")
    tcp: list[str] = []
    unix: list[str] = []
    for name in map(addresses.parse_listener, listeners):
        (unix if addresses.family_of(name) == AF_UNIX else tcp).append(name)
    asked = (tuple(tcp), tuple(unix)) if listeners else (None, None)

    def read() -> dict[str, ListenStats]:
        # TCP last: a unix socket may be bound to a file whose name reads like a TCP address
        return unix_listener_stats(asked[1]) | tcp_listener_stats(asked[0])

    return read


def _path(environ: Mapping[str, Any]) -> str:
    """Return the path as text, with names as `listeners` has them."""
    return _decoded(environ.get("PATH_INFO", ""))


def _decoded(text: str) -> str:
    return os.fsdecode(text.encode("latin-1", "replace"))  # bytes in a string: PEP 3333


def _sender(environ: Mapping[str, Any]) -> Sender:
    names = ("HTTP_HOST", "HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE")
    return Sender(*map(environ.get, names))


def _page_of(environ: Mapping[str, Any]) -> str:
    """Return the path of the page whose button sent a request, by Referer; else that of /. It
    begins with one slash: two would lead to another site."""
    mount = environ.get("SCRIPT_NAME", "")
    base = "/" + quote(mount.encode("latin-1", "replace")).strip("/")
    base += "" if base == "/" else "/"
    with contextlib.suppress(ValueError):
        page = urlsplit(environ.get("HTTP_REFERER", ""))
        own = str(environ.get("HTTP_HOST")).lower()
        if page.scheme in ("http", "https") and page.netloc.lower() == own:
            path = os.fsdecode(unquote_to_bytes(page.path))
            found = _FIGURES.fullmatch(path.removeprefix(_decoded(mount).rstrip("/")))
            if found and found[3] == "html":
                return f"{base}{found[1]}/{pages.link(found[2])}.html"
    return base
