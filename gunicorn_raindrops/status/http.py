"""HTTP/1, as much as the status needs (RFC 9112): a request's head, and one connection.

A head is parsed with as much care as anything that strangers send, and nothing is kept of it but
what the status asks for. These few lines stand in for h11, which takes half a MiB in every worker.
A connection serves one request. It is told when its descriptor is ready, and never waits itself.
"""

from __future__ import annotations

import errno
import os
import re
import select
import time
from collections.abc import Callable
from typing import NamedTuple

from .._native._scoreboard import ffi, lib
from .access import Sender
from .answers import Answer
from .app import StatusApp

MAX_REQUEST = 8192  # bytes of request line and headers
REQUEST_SECONDS = 2.0
ANSWER_SECONDS = 5.0
LINGER_SECONDS = 1.0

AGAIN = (-errno.EAGAIN, -errno.EWOULDBLOCK, -errno.EINTR)
_now = time.monotonic

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_END = re.compile(rb"\r?\n\r?\n")
_LONGEST_END = 4  # bytes
_REQUEST_LINE = re.compile(rb"(%s) ([!-~]+) HTTP/1\.([01])" % _TOKEN)
_NAME = re.compile(_TOKEN)
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


class Request(NamedTuple):
    """What the status asks of a request; `path` is without query string, that without its `?`."""

    method: str
    path: str
    authorization: str | None
    accept: str | None
    query: str
    sender: Sender


class Head:
    """A request's head, as it arrives in pieces.

    Only new bytes are searched for its end, and it is parsed once. So a client that sends byte by
    byte costs no more than its bytes.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._room = MAX_REQUEST

    @property
    def has_begun(self) -> bool:
        """Whether anything has arrived, be it empty lines."""
        return self._room < MAX_REQUEST

    @property
    def is_full(self) -> bool:
        """Whether there is no room for more of it."""
        return self._room <= 0

    def add(self, piece: bytes) -> Request | None:
        """Return the request once its head has ended; None before.

        Raises:
            ValueError: it is no HTTP/1 request.
        """
        piece, self._room = piece[: self._room], self._room - len(piece)
        searched = len(self._bytes)
        self._bytes += piece if searched else piece.lstrip(b"\r\n")
        end = _END.search(self._bytes, max(0, searched - _LONGEST_END + 1))
        if end is not None:
            return parse(bytes(self._bytes[: end.start()]))
        if self._bytes and not self._bytes[:1].isalpha():  # a TLS client, say: do not wait for more
            raise ValueError("no request line")
        return None


def parse(head: bytes) -> Request:
    """Return the request that a head makes, given without the empty line that ends it.

    Raises:
        ValueError: it is no HTTP/1 request.
    """
    first, *lines = re.split(rb"\r?\n", head)
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise ValueError("malformed request line")
    headers = [_header(line) for line in lines]
    values = dict(headers)
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (line[3] == b"1" and not hosts):
        raise ValueError("no Host, or several")
    lengths = {value for name, value in headers if name == b"content-length"}
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        raise ValueError("bad Content-Length")
    absolute = _ABSOLUTE.match(line[2])
    path = line[2][absolute.end() :] if absolute else line[2]
    target = path.decode().partition("#")[0].partition("?")
    host = absolute[1] if absolute else values.get(b"host")  # RFC 9112, section 3.2.2
    return Request(
        line[1].decode(),
        target[0] or "/",
        _text(values.get(b"authorization")),
        _text(values.get(b"accept")),
        target[2],
        Sender(_text(host), _text(values.get(b"origin")), _text(values.get(b"sec-fetch-site"))),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _header(line: bytes) -> tuple[bytes, bytes]:
    # Parted before it is checked: one pattern for all would try every part of a run of spaces.
    name, colon, value = line.partition(b":")
    if not (colon and _NAME.fullmatch(name) and _VALUE.fullmatch(value)):
        raise ValueError("malformed header")
    return name.lower(), value.strip(b" \t")


class Connection:
    """One client. Its request is read, then it is answered, then its end is awaited.

    Attributes:
        fd: its descriptor, which does not block; -1 once it has ended.
        events: what to wait for before `step` is called again.
        deadline: until when, in seconds of the monotonic clock.
        step: goes on as far as it can; returns whether the connection goes on.
    """

    def __init__(self, fd: int, app: StatusApp) -> None:
        self.fd = fd
        self.deadline = _now() + REQUEST_SECONDS
        self.step: Callable[[], bool] = self._read
        self.events = select.POLLIN
        self._app = app
        self._head = Head()
        self._buffer = ffi.new("char[]", MAX_REQUEST)
        self._answer = b""

    @property
    def claim(self) -> int:
        """How good a claim it has to its place, where there are more clients than places: none
        before it has sent something, little once it has its answer."""
        if self.step == self._linger:
            return 1
        if self.step == self._read:
            return 2 if self._head.has_begun else 0
        return 3

    def expire(self) -> None:
        """End it at its deadline; a client whose request has not arrived is told why."""
        if self.step == self._read:
            self._respond(Answer(408, b"request timeout\n"), "GET")
            lib.grd_send(self.fd, self._answer, len(self._answer))
        self.close()

    def close(self) -> None:
        """End it; once it has ended this does nothing."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            lib.grd_shutdown(fd)
            os.close(fd)

    def _read(self) -> bool:
        got = lib.grd_receive(self.fd, self._buffer, MAX_REQUEST)
        if got in AGAIN:
            return True
        if got <= 0:
            return False
        try:
            request = self._head.add(ffi.buffer(self._buffer, got)[:])
        except ValueError:
            return self._respond(Answer(400, b"bad request\n"), "GET")
        if request is not None:
            return self._respond(self._app.answer(*request), request.method)
        if self._head.is_full:
            return self._respond(Answer(431, b"request too large\n"), "GET")
        return True

    def _respond(self, answer: Answer, method: str) -> bool:
        lines = [f"HTTP/1.1 {answer.status_line}"]
        lines += [f"{name}: {value}" for name, value in answer.all_headers()]
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        self._answer = head if method == "HEAD" else head + answer.body
        self.step, self.events = self._write, select.POLLOUT
        self.deadline = _now() + ANSWER_SECONDS
        return self._write()

    def _write(self) -> bool:
        while self._answer:
            sent = lib.grd_send(self.fd, self._answer, len(self._answer))
            if sent < 0:
                return sent in AGAIN
            self._answer = self._answer[sent:]
        lib.grd_shutdown(self.fd)
        self.step, self.events = self._linger, select.POLLIN
        self.deadline = _now() + LINGER_SECONDS
        return self._linger()

    def _linger(self) -> bool:
        """Read on to the client's end: closing on unread bytes would reset the connection, and
        the client might lose the answer (RFC 9112, section 9.6)."""
        got = lib.grd_receive(self.fd, self._buffer, MAX_REQUEST)
        return got > 0 or got in AGAIN
