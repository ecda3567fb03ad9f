"""The status URL: which path has which body.

`StatusApp` knows neither sockets nor servers. The status thread asks it for the answers on the
status address, and `expose` for those on the application's own listeners.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..exporters import json, text
from ..settings import Settings
from ..snapshot import Snapshot
from . import page
from .access import Access, Sender
from .answers import (
    BAD_SINCE,
    FAILED,
    FOREIGN,
    JSON,
    NO_PAGE,
    NO_PROMETHEUS,
    NOT_ALLOWED,
    NOT_FOUND,
    UNAUTHORIZED,
    UNKNOWN_HOST,
    Answer,
)
from .boundary import Boundary

METRICS = "/metrics"
"""Where Prometheus looks unless told otherwise."""
READING = ("GET", "HEAD")

_SINCE = re.compile("(?:^|&)since=([^&]*)")
_HISTORY = re.compile("(?:^|&)history(?:[=&]|$)")
_INSTANT = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,9})?", re.ASCII)
_NOBODY = Sender()

Renderer = Callable[[Any, "str | None"], Answer]
"""Makes an answer of a snapshot and the client's Accept header."""


def _text(snapshot: Snapshot, accept: str | None) -> Answer:
    return Answer(200, text.encode(snapshot), headers=(("Vary", "Accept"),))


def _json(snapshot: Snapshot, accept: str | None) -> Answer:
    return Answer(200, json.encode(snapshot), JSON)


@functools.cache
def load() -> Any:
    """Import what an answer may need, and return it: what makes Prometheus's formats, or None if
    prometheus_client is damaged, which costs that one answer. To be called before a thread runs
    that must not import: a later call executes no import, not even one that fails. The page is read
    here, too."""
    page.load()
    try:
        from ..exporters import prometheus
    except ImportError:
        return None
    return prometheus


def _prometheus(snapshot: Snapshot, accept: str | None) -> Answer:
    prometheus = load()
    if prometheus is None:
        return NO_PROMETHEUS
    body, content_type = prometheus.encode(snapshot, accept)
    return Answer(200, body, content_type, (("Vary", "Accept"),))


def _ready(above: float | None) -> Renderer:
    """Return what makes the readiness answer: whether more requests may be sent here.

    Args:
        above: the saturation above which they may not; None: whatever it is.
    """

    def answer(snapshot: Snapshot, accept: str | None) -> Answer:
        saturation = snapshot.saturation
        if snapshot.capacity == 0:
            return Answer(503, b"no worker is ready\n")
        if above is not None and saturation is not None and saturation > above:
            line = f"saturation is {saturation:.2f}, above {above:g}\n"
            return Answer(503, line.encode(), headers=(("Retry-After", "1"),))
        return Answer(200, b"ready\n")

    return answer


class StatusApp:
    """Answers status requests.

    Routes, GET and HEAD:
        PATH: text/plain, the counts line by line.
        PATH.json: application/json, everything. With ?since=INSTANT, Unix time, also the
            high-water marks since then: a reader that gives the `time` of its last answer misses
            none, however many others read. With ?history also the last ten minutes, second by
            second.
        PATH.prom: Prometheus's text format, OpenMetrics where that is accepted; also /metrics,
            but not where the application's own listeners are exposed.
        PATH.html: the live page, which holds no figures and needs no token; also PATH for a client
            that wants HTML more than text, and / but not where the application's own listeners are
            exposed.
        READY, where that is set: text/plain, 200, or 503 while the saturation is above a limit or
            no worker takes requests; not where the application's own listeners are exposed. An
            unknown saturation is not above the limit.

    On a TCP status address without a token, 421 for a request whose Host is a name that is neither
    localhost nor the one in `bind`, and 403 for one that a page of another origin sends.

    Args:
        settings: `path`, `token`, `bind`, `ready` and `ready_above`, and for exposed requests
            `allow`.
        take: returns a new snapshot; where a reader asks for marks since an instant, that is its
            argument.
        warn: called with a line when an answer cannot be made; the reader gets a 500 then.
        history: returns the last ten minutes; None: nobody keeps them.
        renderers: other routes in place of the status's, each for what `take` returns.

    Attributes:
        boundary: where what fails in an answer ends.
    """

    def __init__(
        self,
        settings: Settings,
        take: Callable[..., Any],
        warn: Callable[[str], None],
        renderers: Mapping[str, Renderer] | None = None,
        *,
        history: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._access = Access(settings)
        self._take = take
        self._history = history
        self.boundary = Boundary(warn)
        self._renderers = renderers or {
            settings.path: _text,
            f"{settings.path}.json": _json,
            f"{settings.path}.prom": _prometheus,
        }
        self._own_renderers: dict[str, Renderer] = {METRICS: _prometheus, **self._renderers}
        if settings.ready is not None:
            self._own_renderers.setdefault(settings.ready, _ready(settings.ready_above))
        self._path = settings.path
        self._needs_token = settings.token is not None
        self._pages = frozenset() if renderers else frozenset({f"{settings.path}.html"})
        self._own_pages = self._pages | {"/"} if self._pages else self._pages

    def answer(
        self,
        method: str,
        path: str,
        authorization: str | None = None,
        accept: str | None = None,
        query: str = "",
        sender: Sender = _NOBODY,
    ) -> Answer:
        """Return the answer to a request; `path` has no query string."""
        return self._make(
            lambda: (
                self._refusal(sender)
                or self._page(self._own_pages, method, path, accept)
                or self._answer(self._own_renderers, method, path, authorization, accept, query)
            )
        )

    def _make(self, answer: Callable[[], Answer]) -> Answer:
        return self.boundary.run("the status cannot be told", answer, FAILED)

    def _refusal(self, sender: Sender) -> Answer | None:
        if not self._access.trusts_page(sender):
            return FOREIGN
        return None if self._access.knows_host(sender) else UNKNOWN_HOST

    def _page(
        self, pages: frozenset[str], method: str, path: str, accept: str | None
    ) -> Answer | None:
        """Return the page, if that is what a request is for."""
        negotiates = bool(pages) and path == self._path and method in READING
        if path not in pages and not (negotiates and page.prefers_html(accept)):
            return None
        if method not in READING:
            return NOT_ALLOWED
        found = page.load()
        if found is None:
            return NO_PAGE
        body = found.body(self._path, self._needs_token)
        return Answer(200, body, page.HTML, found.headers)

    def _answer(
        self,
        renderers: Mapping[str, Renderer],
        method: str,
        path: str,
        authorization: str | None,
        accept: str | None,
        query: str,
    ) -> Answer:
        if not self._access.may_read(authorization):
            return UNAUTHORIZED
        if method not in READING:
            return NOT_ALLOWED
        if path not in renderers:
            return NOT_FOUND
        render = renderers[path]
        if render is _json and _HISTORY.search(query):
            render = self._json_with_history
        since = _SINCE.search(query)
        if since is None:
            return render(self._take(), accept)
        if not _INSTANT.fullmatch(since[1]):
            return BAD_SINCE
        return render(self._take(float(since[1])), accept)

    def _json_with_history(self, snapshot: Snapshot, accept: str | None) -> Answer:
        kept = None if self._history is None else self._history()
        return Answer(200, json.encode(snapshot, {"history": kept}), JSON)

    def serves(self, path: Any) -> bool:
        """Tell whether a path is one of the status."""
        return path in self._renderers or path in self._pages

    def exposes_to(self, environ: Mapping[str, Any]) -> bool:
        """Tell whether a request on the application's listener is for the status: it asks for it,
        and its peer may read it. Any other is the application's."""
        return self.serves(environ.get("PATH_INFO")) and self._access.admits(environ)

    def exposed(self, environ: Mapping[str, Any]) -> Answer:
        """Return the answer to a request that `exposes_to` has passed."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        accept = environ.get("HTTP_ACCEPT")
        return self._make(
            lambda: (
                self._page(self._pages, method, path, accept)
                or self._answer(
                    self._renderers,
                    method,
                    path,
                    environ.get("HTTP_AUTHORIZATION"),
                    accept,
                    environ.get("QUERY_STRING", ""),
                )
            )
        )
