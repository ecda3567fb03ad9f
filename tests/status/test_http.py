"""HTTP: a request's head, and one connection, without the thread that test_thread.py has."""

import contextlib
import resource
import socket

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gunicorn_raindrops.status import http
from gunicorn_raindrops.status.access import Sender
from gunicorn_raindrops.status.http import Connection, Head, Request

from ..bounds import WAIT
from .test_thread import GET, app, parsed, read


def test_parse():
    """What the status asks for, and nothing else."""
    head = b"GET /x?since=1#y HTTP/1.1\r\nHost: localhost\r\nAccept: a/b \r\n"
    head += b"authorization: Bearer t\r\nX: y"
    assert Head().add(head) is None
    asked = Request("GET", "/x", "Bearer t", "a/b", "since=1", Sender("localhost"))
    assert Head().add(head + b"\r\n\r\nbody") == asked
    asked = Request("HEAD", "/", None, None, "", Sender("x"))
    assert Head().add(b"\r\nHEAD http://x HTTP/1.0\n\n") == asked
    head = b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: null\r\nSec-Fetch-Site: none\r\n\r\n"
    asked = Request("GET", "/", None, None, "", Sender("x", "null", "none"))
    assert Head().add(head) == asked


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_the_end_in_pieces(end):
    """It is found wherever it is cut; empty lines before the request are none."""
    data = b"\r\n\r\n\n\nGET /x HTTP/1.0" + end
    for first in range(len(data)):
        for second in range(first, len(data)):
            head = Head()
            assert head.add(data[:first]) is None
            assert head.add(data[first:second]) is None
            assert head.add(data[second:]) == Request("GET", "/x", None, None, "", Sender())


@pytest.mark.parametrize("first", [1, 100, 4000, 8191])
def test_limit_in_pieces(first):
    """The limit holds however the request is cut."""
    ours, theirs = socket.socketpair()
    request = GET[:-2] + b"x: " + b"a" * 8192 + b"\r\n\r\n"
    with theirs:
        theirs.settimeout(WAIT)
        connection = Connection(ours.detach(), app())
        theirs.sendall(request[:first])
        assert connection.step()
        theirs.sendall(request[first:])
        while connection.step == connection._read:
            assert connection.step()
        connection.close()
        with contextlib.suppress(ConnectionResetError):
            assert parsed(read(theirs))[0] == 431


@pytest.mark.parametrize("first", [1, 30, 100])
def test_a_large_body_in_pieces(first):
    """The limit is one of the head: what comes behind it is refused for its method."""
    ours, theirs = socket.socketpair()
    head = b"POST /_raindrops HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n"
    request = head + b"a" * 20_000
    with theirs:
        theirs.settimeout(WAIT)
        connection = Connection(ours.detach(), app())
        theirs.sendall(request[:first])
        while connection.step == connection._read:
            assert connection.step()
            if connection.step == connection._read:
                theirs.sendall(request[first:])
        assert theirs.recv(65536).startswith(b"HTTP/1.1 405 ")
        connection.close()


BOMBS = {
    "spaces": b"x:" + b" " * 8000 + b"\0",
    "tabs and spaces": b"x:" + b" \t" * 4000 + b"\x7f",
    "words": b"x:" + b"a " * 4000 + b"\0",
    "name": b"a" * 8000,
    "many": b"x:\r\n" * 1900 + b"\0",
    "line feeds": b"\n" * 8000,
    "carriage returns": b"\r" * 8000 + b"\0",
}


@pytest.mark.parametrize("header", BOMBS.values(), ids=BOMBS)
def test_rubbish_costs_nothing(fork, header):
    """No 8 KiB keep the interpreter from the worker's requests for longer than some
    milliseconds, whatever is in them."""

    def one(link):
        # of processor time; it ends this process even in the midst of a C call
        resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
        for _ in range(20):
            ours, theirs = socket.socketpair()
            connection = Connection(ours.detach(), app())
            theirs.sendall((b"GET / HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n")[:8192])
            connection.step()

    fork(one).check()


class Counted:
    """A pattern that counts the bytes it is made to look at."""

    def __init__(self, pattern):
        self.pattern, self.searched = pattern, 0

    def search(self, data, start=0):
        self.searched += len(data) - start
        return self.pattern.search(data, start)


@pytest.mark.parametrize("step", [1, 64])
@pytest.mark.parametrize("data", [GET[:-2] + b"x: y\r\n" * 2000, b"\r\n" * 5000], ids=len)
def test_dribbling_costs_little(monkeypatch, step, data):
    """Nor does a request that comes byte by byte: its bytes are searched once, but for the three
    that may be the begin of its end, and nothing is parsed before that end."""
    counted = Counted(http._END)
    monkeypatch.setattr(http, "_END", counted)
    monkeypatch.setattr(http, "parse", pytest.fail)
    ours, theirs = socket.socketpair()
    with theirs:
        connection = Connection(ours.detach(), app())
        data = data[:8191]
        for at in range(0, len(data), step):
            theirs.send(data[at : at + step])
            assert connection.step()
        connection.close()
    assert counted.searched <= len(data) * (1 + 3 / step)


# One connection, without the thread.


def spelled(method, target, version, headers, body):
    lines = [f"{method} {target} {version}", *[f"{name}: {value}" for name, value in headers]]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


WORDS = st.text(st.characters(max_codepoint=255), max_size=20)
REQUESTS = st.builds(
    spelled,
    st.sampled_from(["GET", "HEAD", "POST", "", "G T"]) | WORDS,
    st.sampled_from(["/_raindrops", "/_raindrops.json?x", "http://[::1]/_raindrops", "*"]) | WORDS,
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/3"]) | WORDS,
    st.lists(
        st.tuples(
            st.sampled_from(
                ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect",
                 "Authorization", "Origin", "Sec-Fetch-Site"]
            )
            | WORDS,
            st.sampled_from(["localhost", "5", "chunked", "close", "100-continue"]) | WORDS,
        ),
        max_size=5,
    ),
    st.binary(max_size=50),
)  # fmt: skip


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=REQUESTS | st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=4))
@example(data=GET, cuts=[3, 5])
def test_anything_at_all(data, cuts):
    """Whatever comes, in whatever pieces, it is answered well or waited for; nothing is raised."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.settimeout(WAIT)
        connection = Connection(ours.detach(), app(token="s3cret"))
        pieces = [
            data[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True)
        ]
        going = True
        for piece in pieces:
            if piece and going:
                theirs.sendall(piece)
                going = connection.step()
        if going and connection.step == connection._read:
            connection.expire()
        else:
            connection.close()
        with contextlib.suppress(ConnectionResetError):
            answer = read(theirs)
            if answer:
                assert 400 <= parsed(answer)[0] <= 505
                assert b"calling:" not in answer
