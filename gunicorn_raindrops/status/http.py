"""A request's head, as much of HTTP/1 as the status thread needs (RFC 9112, sections 2 to 5).

Strict in what it takes, since it is the first to see what strangers send; it keeps nothing but
what the status asks for. Its own few lines instead of h11, which is half a MiB in every worker.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_END = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(rb"(%s) ([!-~]+) HTTP/1\.([01])" % _TOKEN)
_NAME = re.compile(_TOKEN)
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


class Request(NamedTuple):
    """What the status asks of a request; `path` is without query string, that without its `?`."""

    method: str
    path: str
    authorization: str | None
    accept: str | None
    query: str


def parse(received: bytes) -> Request | None:
    """Return the request whose head stands in `received`; None if it has not ended yet.

    Raises:
        ValueError: it is no HTTP/1 request.
    """
    received = received.lstrip(b"\r\n")
    end = _END.search(received)
    if end is None:
        if received and not received[:1].isalpha():  # a TLS client, say: do not wait for more
            raise ValueError("no request line")
        return None
    first, *lines = re.split(rb"\r?\n", received[: end.start()])
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise ValueError("malformed request line")
    headers = [_header(line) for line in lines]
    values = dict(headers)
    if line[3] == b"1" and b"host" not in values:
        raise ValueError("no Host")
    lengths = {value for name, value in headers if name == b"content-length"}
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        raise ValueError("bad Content-Length")
    path = _ABSOLUTE.sub(b"", line[2], count=1) if line[2][:1] != b"/" else line[2]
    target = path.decode().partition("#")[0].partition("?")
    return Request(
        line[1].decode(),
        target[0] or "/",
        _text(values.get(b"authorization")),
        _text(values.get(b"accept")),
        target[2],
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _header(line: bytes) -> tuple[bytes, bytes]:
    # Parted before it is checked: one pattern for all would try every part of a run of spaces.
    name, colon, value = line.partition(b":")
    if not (colon and _NAME.fullmatch(name) and _VALUE.fullmatch(value)):
        raise ValueError("malformed header")
    return name.lower(), value.strip(b" \t")
