"""What a status answer is, and those that are always the same."""

from __future__ import annotations

from dataclasses import dataclass

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """A status answer; `headers` are those that this answer has beside every answer's."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def status_line(self) -> str:
        """Status and reason, as WSGI has them."""
        return f"{self.status} {_PHRASES[self.status]}"

    def all_headers(self) -> list[tuple[str, str]]:
        """Return the headers to send."""
        return [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *self.headers,
        ]


# As in http.HTTPStatus, whose import is most of what a status answer would cost a worker.
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}

NOT_FOUND = Answer(404, b"not found\n")
NOT_ALLOWED = Answer(405, b"only GET and HEAD\n", headers=(("Allow", "GET, HEAD"),))
UNAUTHORIZED = Answer(
    401,
    b"a bearer token is needed\n",
    headers=(("WWW-Authenticate", 'Bearer realm="raindrops"'),),
)
FOREIGN = Answer(403, b"not for pages of other sites: set a token\n")
UNKNOWN_HOST = Answer(
    421, b"unknown Host: ask for an IP address, localhost or the name in bind, or set a token\n"
)
FAILED = Answer(500, b"internal error\n")
BAD_SINCE = Answer(400, b"since must be Unix time, such as 1700000000.5\n")
NO_PROMETHEUS = Answer(501, b"prometheus_client cannot be imported\n")
NO_PAGE = Answer(501, b"the page cannot be read\n")
