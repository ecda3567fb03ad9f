"""LastDataRecv: what is recorded, once a connection; who is answered what; beside Ruby's."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gunicorn_raindrops import Histogram, LastDataRecv, TCPInfo, last_data_recv

from .bounds import WAIT

needs_tcp_info = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")
LOCAL = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "127.0.0.1"}
FIGURES = ["X-Min", "X-Max", "X-Mean", "X-Std-Dev", "X-Outliers-Low", "X-Outliers-High"]


def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello\n"]


def call(app, path="/", **environ):
    """Return status, headers and body of a request."""
    started = []
    body = app({**LOCAL, "PATH_INFO": path, **environ}, lambda *args: started.extend(args))
    return started[0], dict(started[1]), b"".join(body)


def ask(app, **environ):
    status, headers, body = call(app, last_data_recv.PATH, **environ)
    assert status == "200 OK"
    return headers, body.decode()


@pytest.fixture
def accepted():
    """A function that makes an accepted connection with a request in it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def make():
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            client.sendall(b"GET")
            sock = stack.enter_context(listener.accept()[0])
            sock.settimeout(WAIT)
            assert sock.recv(3) == b"GET"
            return sock

        yield make


class Waited:
    """A socket whose data came so many milliseconds ago."""

    family = socket.AF_INET

    def __init__(self, ms):
        self.ms = ms

    def getsockopt(self, level, option, size):
        return bytes(52) + self.ms.to_bytes(4, sys.byteorder)


@needs_tcp_info
@pytest.mark.parametrize("name", last_data_recv.SOCKETS)
def test_first_requests_are_recorded(accepted, name):
    """One record for each connection, whatever comes on it later."""
    app = LastDataRecv(hello)
    first, second = accepted(), accepted()
    for sock in (first, second, first, first):
        assert call(app, **{name: sock}) == ("200 OK", {}, b"hello\n")
    assert app.histogram.count == 2
    limit = TCPInfo(first).last_data_recv / 1000
    assert app.histogram.max <= limit


@needs_tcp_info
def test_milliseconds():
    """The kernel's milliseconds are recorded as seconds and shown as milliseconds."""
    app = LastDataRecv(hello)
    for ms in (0, 1, 300):
        call(app, **{"gunicorn.socket": Waited(ms)})
    assert (app.histogram.min, app.histogram.max) == (0, 0.3)
    headers, body = ask(app)
    assert {name: headers[name] for name in ["X-Count", *FIGURES]} == {
        "X-Count": "3",
        "X-Min": "0",
        "X-Max": "300",
        "X-Mean": "100",
        "X-Std-Dev": "141",
        "X-Outliers-Low": "1",
        "X-Outliers-High": "0",
    }
    assert body == f"{app.histogram}\n"


def test_what_is_not_recorded():
    """No socket, no TCP socket, a closed one, none at all: the application answers as ever."""
    app = LastDataRecv(hello)
    one, other = socket.socketpair()
    closed = socket.socket()
    closed.close()
    with one, other:
        for sock in (one, closed, None, 5, "a socket"):
            assert call(app, **{"gunicorn.socket": sock})[0] == "200 OK"
    assert call(app)[0] == "200 OK"
    assert app.histogram.count == 0


def test_a_closed_histogram_is_not_in_the_way():
    app = LastDataRecv(hello)
    app.histogram.close()
    assert call(app, **{"gunicorn.socket": Waited(1)})[0] == "200 OK"


def test_few():
    """As the original, of one or none it says how many, and nothing else."""
    app = LastDataRecv(hello)
    for count in ("0", "1"):
        headers, _ = ask(app)
        assert headers["X-Count"] == count
        assert not set(FIGURES) & set(headers)
        app.histogram.record(0.1)


@needs_tcp_info
def test_its_own_request_is_recorded():
    """Also the connection that asks, before it is answered."""
    headers, _ = ask(LastDataRecv(hello), **{"gunicorn.socket": Waited(5)})
    assert headers["X-Count"] == "1"


def test_an_application_that_raises():
    """What it raises is the server's, unchanged; its connection is recorded."""
    error = RuntimeError("boom")

    def boom(environ, start_response):
        raise error

    app = LastDataRecv(boom)
    with pytest.raises(RuntimeError) as raised:
        call(app, **{"gunicorn.socket": Waited(7)})
    assert raised.value is error


def test_the_response_is_untouched():
    body = object()
    assert LastDataRecv(lambda environ, start_response: body)({**LOCAL}, print) is body


def test_forks_share():
    """What children record, all see."""
    app = LastDataRecv(hello)
    for ms in (100, 200):
        if (pid := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                app.histogram.record(ms / 1000)
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ask(app)[0]["X-Mean"] == "150"


def test_who_may_read():
    """As with the status: local peers, unless a proxy speaks for them; others get the app."""
    app = LastDataRecv(hello)
    for environ in ({"REMOTE_ADDR": "192.0.2.1"}, {"HTTP_X_FORWARDED_FOR": "192.0.2.1"}):
        assert call(app, last_data_recv.PATH, **environ)[2] == b"hello\n"
    app = LastDataRecv(hello, allow="192.0.2.0/24", token="secret", path="/waited")
    assert call(app, "/waited", REMOTE_ADDR="192.0.2.1")[0].startswith("401")
    given = {"REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": "Bearer secret"}
    assert call(app, "/waited", **given)[0] == "200 OK"


def test_an_instant():
    """What the status takes in a query changes nothing."""
    app = LastDataRecv(hello)
    assert ask(app, QUERY_STRING="since=1")[0]["X-Count"] == "0"


def test_methods():
    """GET and HEAD. There is no reset: neither had the original."""
    app = LastDataRecv(hello)
    status, headers, body = call(app, last_data_recv.PATH, REQUEST_METHOD="HEAD")
    assert (status, body) == ("200 OK", b"")
    assert int(headers["Content-Length"]) == len(ask(app)[1])
    assert call(app, last_data_recv.PATH, REQUEST_METHOD="POST")[0].startswith("405")


def test_without_an_application():
    """It is the whole of its place in a router, and shows what a middleware fills."""
    histogram = Histogram()
    app = LastDataRecv(histogram=histogram)
    histogram.record(0.1)
    for path in ("", "/", "/anything"):
        assert call(app, path)[1]["X-Count"] == "1"
    assert call(app, REMOTE_ADDR="192.0.2.1")[0].startswith("404")


@pytest.mark.parametrize("keywords", [{"path": "/"}, {"allow": "nobody"}, {"token": "a b"}])
def test_wrong_settings(keywords):
    with pytest.raises(ValueError, match=next(iter(keywords))):
        LastDataRecv(hello, **keywords)


def test_no_application():
    with pytest.raises(TypeError, match="app must be"):
        LastDataRecv("hello")


# Ruby's answer, over a stand-in for its aggregate that holds what ours holds.
RUBY = """
require "json"
require "raindrops"
require "raindrops/last_data_recv"
count, sum, squares, min, max, low, high = JSON.parse(ARGV[0])
mean = sum.to_f / count
deviation = Math.sqrt(squares.to_f / count - mean ** 2)
Held = Struct.new(:count, :min, :max, :mean, :std_dev, :outliers_low, :outliers_high)
held = Held.new(count, min, max, mean, deviation, low, high)
puts JSON.dump(Raindrops::LastDataRecv.new(aggregate: held).call({}))
"""
needs_ruby = pytest.mark.skipif(
    shutil.which("ruby") is None or not Path("/usr/share/doc/ruby-raindrops").exists(),
    reason="needs the package ruby-raindrops",
)


def ruby(*args):
    command = ["ruby", "-e", *args]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@needs_ruby
@pytest.mark.parametrize("waits", [[], [3], [0, 0, 1, 2, 300], [10, 11]])
def test_headers_are_ruby_s(waits):
    """Their names, when they are there, and their values, but for Content-*."""
    app = LastDataRecv(hello)
    for ms in waits:
        app.histogram.record(ms / 1000)
    squares = sum(ms * ms for ms in waits)
    ends = [min(waits, default=0), max(waits, default=0)]
    held = [len(waits), sum(waits), squares, *ends, waits.count(0), 0]
    status, theirs, _ = json.loads(ruby(RUBY, json.dumps(held)))
    headers, _ = ask(app)
    ours = {name: value for name, value in headers.items() if name in ["X-Count", *FIGURES]}
    assert status == 200
    assert ours == {n: v for n, v in theirs.items() if not n.startswith("Content-")}
    assert headers["Content-Type"].startswith(theirs["Content-Type"])


@needs_ruby
def test_the_path_is_ruby_s():
    """The one that its documentation maps."""
    source = ruby(
        'require "raindrops"; require "raindrops/last_data_recv"; '
        "puts $LOADED_FEATURES.grep(%r{raindrops/last_data_recv.rb})"
    )
    documented = re.findall(r'map "(\S*last_data_recv)"', Path(source.split()[0]).read_text())
    assert documented == [last_data_recv.PATH]
