"""What the Watcher answers: status, headers, body."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple
from wsgiref.handlers import format_date_time as http_date

from . import pages
from .aggregate import number_text
from .sampling import Figures

Headers = list[tuple[str, str]]


class Response(NamedTuple):
    """An answer; its headers without those that every answer has."""

    status: int
    headers: Headers
    body: Iterable[bytes]

    @property
    def status_line(self) -> str:
        """Status and reason, as WSGI has them."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"

    def all_headers(self) -> Headers:
        """Return the headers to send."""
        return [*self.headers, ("X-Content-Type-Options", "nosniff")]


def _whole(status: int, content_type: str, body: bytes, headers: Headers) -> Response:
    described = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    return Response(status, [*headers, *described], [body])


def text(status: int, body: str, headers: Headers | None = None) -> Response:
    """Return an answer of ASCII text."""
    return _whole(status, "text/plain", body.encode("ascii"), headers or [])


def html(body: bytes, headers: Headers) -> Response:
    """Return an answer of a page."""
    return _whole(200, "text/html", body, [*headers, ("Content-Security-Policy", pages.POLICY)])


NOT_FOUND = text(404, "not found\n")


def figures_headers(figures: Figures) -> Headers:
    """Return the X-* headers of a listener's figures."""
    aggregate = figures.aggregate
    numbers = {
        "X-Count": aggregate.count,
        "X-Min": aggregate.min,
        "X-Max": aggregate.max,
        "X-Mean": aggregate.mean,
        "X-Std-Dev": aggregate.std_dev,
        "X-Outliers-Low": aggregate.outliers_low,
        "X-Outliers-High": aggregate.outliers_high,
        "X-Current": figures.current,
    }
    instants = {
        "X-Last-Reset": figures.last_reset,
        "X-First-Peak-At": figures.first_peak,
        "X-Last-Peak-At": figures.last_peak,
    }
    texts = {name: number_text(number) for name, number in numbers.items()}
    texts |= {name: http_date(at) for name, at in instants.items()}
    return list(texts.items())
