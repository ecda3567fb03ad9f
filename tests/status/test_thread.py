"""The status thread: real sockets, a forked process that serves, and clients of every kind."""

import atexit
import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from gunicorn_raindrops.exporters import json as render
from gunicorn_raindrops.exporters import text
from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status import http
from gunicorn_raindrops.status import thread as server
from gunicorn_raindrops.status.answers import Answer
from gunicorn_raindrops.status.app import StatusApp
from gunicorn_raindrops.status.listener import listen, new_socket
from gunicorn_raindrops.status.thread import StatusServer

from ..bounds import WAIT
from ..conftest import descriptors
from ..exporters.test_json import SNAPSHOT
from .conftest import open_listener

GET = b"GET /_raindrops HTTP/1.1\r\nHost: localhost\r\n\r\n"
TEXT = text.encode(SNAPSHOT)


def app(**keywords):
    return StatusApp(load(keywords, {}), lambda: SNAPSHOT, pytest.fail)


class Large:
    """An app whose every answer is larger than what sockets hold; those of unix hold less."""

    def __init__(self, mebibytes=16):
        self.body = bytes(range(256)) * 4 * 1024 * mebibytes

    def answer(self, method, path, *rest):
        return Answer(200, b"small\n" if path == "/small" else self.body)


def failing():
    """An app that cannot tell the status."""
    return StatusApp(load({}, {}), lambda: 1 / 0, lambda line: None)


class Status:
    """A process that serves the status, and what it warned of."""

    def __init__(self, fork, listener, app, patience, prepare):
        self.listener = listener
        self.address = listener.getsockname()
        self.child = fork(self._serve, app, patience, prepare)
        assert self.child.link.hear() == b"ready"

    def _serve(self, link, app, patience, prepare):
        for name, seconds in patience.items():
            assert hasattr(http, name)
            setattr(http, name, seconds)
        warn = lambda line: link.say(b"warning: " + line.encode())  # noqa: E731
        StatusServer(self.listener, app, warn, os.getppid()).start()
        link.say(b"ready")
        if prepare is not None:
            prepare(link)
        while link.hear():
            link.say(b"alive")

    def connect(self, data=b""):
        sock = socket.socket(self.listener.family)
        sock.settimeout(WAIT)
        sock.connect(self.address)
        sock.sendall(data)
        return sock

    def ask(self, data=GET):
        """Send a request and return the answer: status, headers, body."""
        with self.connect(data) as sock:
            return parsed(read(sock))

    def quiet(self):
        """Check that it has warned of nothing and is alive."""
        self.child.link.say()
        assert self.child.link.hear() == b"alive"


def read(sock):
    """Read to the end."""
    data = b""
    while got := sock.recv(65536):
        data += got
    return data


def parsed(data):
    head, _, body = data.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    version, status, _ = line.split(" ", 2)
    assert version == "HTTP/1.1"
    fields = {name.lower(): value for name, value in (one.split(": ", 1) for one in headers)}
    assert len(fields) == len(headers)
    assert fields["connection"] == "close"
    return int(status), fields, body


def ended(sock, seconds=WAIT):
    """Wait until the other end says something or hangs up; return what it said."""
    assert select.select([sock], [], [], seconds)[0], f"nothing within {seconds} s"
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b""


@pytest.fixture
def serve(fork):
    """Return a function that serves an app on a listener; in the end it must be alive, and have
    warned of nothing that the test has not heard."""
    running = []

    def start(listener, app=None, prepare=None, **patience):
        status = Status(fork, listener, app or globals()["app"](), patience, prepare)
        running.append(status)
        return status

    yield start
    for status in running:
        if status.child.status is None:
            status.quiet()
            status.child.link.close()
            status.child.check()


# Requests.


def test_get(serve, any_listener):
    """Text and JSON, on whatever the status listens on; one request a connection."""
    status = serve(any_listener)
    code, headers, body = status.ask()
    assert (code, body) == (200, TEXT)
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["content-length"] == str(len(TEXT))
    code, headers, body = status.ask(b"GET /_raindrops.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (code, headers["content-type"]) == (200, "application/json")
    assert body == render.encode(SNAPSHOT)


def test_head(serve, listener):
    """The headers of GET, and no body."""
    status = serve(listener)
    for path in (b"/_raindrops", b"/nowhere"):
        request = b" " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        code, headers, body = status.ask(b"GET" + request)
        assert body
        assert status.ask(b"HEAD" + request) == (code, headers, b"")


@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        (b"GET /_raindrops?x=1&y=/_raindrops.json HTTP/1.1", 200),
        (b"GET /_raindrops? HTTP/1.1", 200),
        (b"GET http://localhost/_raindrops HTTP/1.1", 200),
        (b"GET http://localhost/_raindrops?a=http://y HTTP/1.1", 200),
        (b"GET http://localhost HTTP/1.1", 200),
        (b"GET / HTTP/1.1", 200),
        (b"GET /nowhere?/_raindrops HTTP/1.1", 404),
        (b"GET //_raindrops HTTP/1.1", 404),
        (b"GET /a://b/_raindrops HTTP/1.1", 404),
        (b"GET /%5Fraindrops HTTP/1.1", 404),
        (b"GET /\xff\xfe HTTP/1.1", 400),
        (b"POST /_raindrops HTTP/1.1", 405),
        (b"PUT /nowhere HTTP/1.1", 405),
        (b"DELETE /_raindrops HTTP/1.1", 405),
        (b"OPTIONS * HTTP/1.1", 405),
        (b"CONNECT x:80 HTTP/1.1", 405),
        (b"get /_raindrops HTTP/1.1", 405),
    ],
)
def test_targets_and_methods(serve, listener, request_line, code):
    """Query strings are ignored, absolute targets understood; 404, 405 and 400 as they apply."""
    answer = serve(listener).ask(request_line + b"\r\nHost: localhost\r\n\r\n")
    assert answer[0] == code
    if code == 405:
        assert answer[1]["allow"] == "GET, HEAD"


def test_http_1_0(serve, listener):
    """An old client, without Host, gets its answer."""
    assert serve(listener).ask(b"GET /_raindrops HTTP/1.0\r\n\r\n")[::2] == (200, TEXT)


def test_token(serve, listener):
    """401 without it, the answer with it."""
    status = serve(listener, app(token="s3cret"))
    code, headers, _ = status.ask()
    assert (code, headers["www-authenticate"].split()[0]) == (401, "Bearer")
    for value, code in ((b"Bearer s3cret", 200), (b"Bearer x", 401), (b"Bearer \xff", 401)):
        request = GET[:-2] + b"Authorization: " + value + b"\r\n\r\n"
        assert status.ask(request)[0] == code


SENDERS = [
    (b"Host: localhost:9180", 200),
    (b"Host: LocalHost.", 200),
    (b"Host: 127.0.0.1:9180", 200),
    (b"Host: 192.0.2.7", 200),
    (b"Host: [::1]:9180", 200),
    (b"Host:", 200),
    (b"Host: rebound.example", 421),
    (b"Host: rebound.example:9180", 421),
    (b"Host: localhost.rebound.example", 421),
    (b"Host: localhost@rebound.example", 421),
    (b"Host: [localhost", 421),
    (b"Host: \xff", 421),
    (b"Host: localhost\r\nHost: localhost", 400),
    (b"Host: localhost:1\r\nOrigin: http://localhost:1", 200),
    (b"Host: localhost:1\r\nOrigin: http://localhost:2", 403),
    (b"Host: localhost\r\nOrigin: https://rebound.example", 403),
    (b"Host: localhost\r\nOrigin: null", 403),
    (b"Host: localhost\r\nSec-Fetch-Site: cross-site", 403),
    (b"Host: localhost\r\nSec-Fetch-Site: same-origin", 200),
    (b"Host: localhost\r\nSec-Fetch-Site: none", 200),
]


def sent_by(more, authorization=b""):
    return b"GET /_raindrops HTTP/1.1\r\n" + more + b"\r\n" + authorization + b"\r\n"


@pytest.mark.parametrize(("more", "code"), SENDERS)
def test_pages_of_strangers(serve, listener, more, code):
    """No web page reads the status by a name of its own (DNS rebinding), or as a foreign one."""
    assert serve(listener).ask(sent_by(more))[0] == code


@pytest.mark.parametrize("more", [more for more, code in SENDERS if code != 400])
def test_a_token_says_more_than_a_name(serve, listener, more):
    """With it any Host is answered; without it none is."""
    status = serve(listener, app(token="s3cret"))
    assert status.ask(sent_by(more, b"Authorization: Bearer s3cret\r\n"))[0] == 200
    assert status.ask(sent_by(more))[0] == 401


@pytest.mark.parametrize(("bind", "code"), [("status.test:9180", 200), ("127.0.0.1:9180", 421)])
def test_a_name_that_bind_has(serve, listener, bind, code):
    """It is known, however it is written; an absolute target names the host, not the header."""
    status = serve(listener, app(bind=bind))
    assert status.ask(b"GET /_raindrops HTTP/1.1\r\nHost: Status.Test:9180\r\n\r\n")[0] == code
    target = b"GET http://status.test/_raindrops HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert status.ask(target)[0] == code


def test_any_host_over_a_unix_socket(serve, unix):
    """No page reaches it."""
    status = serve(unix, app(bind=f"unix:{unix.getsockname()}"))
    assert status.ask(GET.replace(b"localhost", b"any.example"))[0] == 200


def test_no_answer_echoes_the_request(serve, listener):
    """Neither header nor query string nor body comes back, whatever the answer."""
    status = serve(listener)
    for request in (
        b"GET /_raindrops?SECRET HTTP/1.1\r\nHost: SECRET\r\nCookie: SECRET\r\n\r\n",
        b"GET /SECRET HTTP/1.1\r\nHost: SECRET\r\n\r\n",
        b"SECRET /SECRET HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"SECRET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nSECRET",
    ):
        with status.connect(request) as sock:
            assert b"SECRET" not in read(sock)


def test_a_request_in_pieces(serve, listener):
    """Wherever it is cut."""
    status = serve(listener)
    for at in range(1, len(GET)):
        with status.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(GET[:at])
            sock.sendall(GET[at:])
            assert parsed(read(sock))[::2] == (200, TEXT)


def test_half_closed(serve, listener):
    """A client that says it will send no more still gets its answer."""
    with serve(listener).connect(GET) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert parsed(read(sock))[0] == 200


RUBBISH = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "zeros": bytes(500),
    "words": b"hello there\r\n\r\n",
    "no target": b"GET\r\n\r\n",
    "no version": b"GET /_raindrops\r\n\r\n",
    "no host": b"GET /_raindrops HTTP/1.1\r\n\r\n",
    "header": b"GET /_raindrops HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
    "header name": b"GET /_raindrops HTTP/1.1\r\nHost: localhost\r\na b: c\r\n\r\n",
    "folded": b"GET /_raindrops HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
    "space before colon": b"GET /_raindrops HTTP/1.1\r\nHost : x\r\n\r\n",
    "bare lf and nul": b"GET / HTTP/1.1\nHost: \0\n\n",
}


@pytest.mark.parametrize("data", RUBBISH.values(), ids=RUBBISH)
def test_rubbish(serve, listener, data):
    """It is 400 (or a kin of it), before its time is over, and the next client is served."""
    status = serve(listener, REQUEST_SECONDS=2 * WAIT)
    assert status.ask(data)[0] in (400, 501, 505)
    assert status.ask()[0] == 200


@pytest.mark.parametrize("size", [8192, 8193, 10_000, 16_000, 16_500, 100_000])
@pytest.mark.parametrize("where", ["target", "header", "headers"])
def test_limit_of_8_kib(serve, listener, size, where):
    """Request line and headers may have 8 KiB together; beyond, 431."""
    head, tail = {
        "target": (b"GET /_raindrops?", b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "header": (GET[:-2] + b"x: ", b"\r\n\r\n"),
        "headers": (GET[:-2] + b"x: y\r\n" * ((size - 100) // 6) + b"z: ", b"\r\n\r\n"),
    }[where]
    request = head + b"a" * (size - len(head) - len(tail)) + tail
    assert len(request) == size
    status = serve(listener)
    assert status.ask(request)[0] == (200 if size <= 8192 else 431)
    assert status.ask()[0] == 200


def test_post_with_a_body(serve, listener):
    """Its 405 arrives whole, though the body is never asked for: no reset swallows it."""
    body = b"x" * (1 << 20)
    head = b"POST /_raindrops HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    status = serve(listener)
    for _ in range(10):
        assert status.ask(head + body)[::2] == (405, b"only GET and HEAD\n")


def test_post_that_expects_to_be_asked(serve, listener):
    """The answer comes without a 100 before it."""
    request = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    )
    assert serve(listener).ask(request)[0] == 405


def test_pipelined(serve, listener):
    """The first request is answered, whole, and `Connection: close` says that it is the last."""
    code, headers, body = serve(listener).ask(GET * 200)
    assert (code, headers["connection"], body) == (200, "close", TEXT)


def test_a_status_that_cannot_be_told(serve, listener):
    """500; the thread serves on."""
    status = serve(listener, failing())
    for _ in range(2):
        code, _, body = status.ask()
        assert (code, body) == (500, b"internal error\n")


# Failures.

PACKAGE = str(Path(server.__file__).parent.parent)


def failing_at(number, skip=(), after=None):
    """Return a trace function that has one call of ours fail for want of memory: the one of this
    number, counted from the first call of the function `after`. It is dropped when it raises."""
    calls = 0 if after is None else None  # None: not yet

    def trace(frame, event, _):
        nonlocal calls
        name = frame.f_code.co_name
        if frame.f_code.co_filename.startswith(PACKAGE) and name not in skip:
            if calls is None and name == after:
                calls = 0
            calls = None if calls is None else calls + 1
            if calls == number:
                raise MemoryError(name)

    return trace


@pytest.mark.parametrize("after", [None, "_accept"])
def test_no_memory(fork, listener, monkeypatch, after):
    """Wherever a step of the thread fails for want of memory: the thread goes on, what is due each
    second goes on, and no client hangs."""
    monkeypatch.setattr(server, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(server, "FAILED_SECONDS", 0.01)
    for name in ("REQUEST_SECONDS", "ANSWER_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(http, name, 0.3)
    run = StatusServer._run

    def one(link, number):
        ticks, warned = [], []

        def traced(self):
            sys.settrace(failing_at(number, ("_run",), after))
            run(self)

        monkeypatch.setattr(StatusServer, "_run", traced)
        told = StatusApp(load({}, {}), lambda: SNAPSHOT, warned.append)
        StatusServer(listener, told, warned.append, os.getppid(), ticks.append).start()
        link.say(b"ready")
        link.hear()
        before = len(ticks)
        until = time.monotonic() + WAIT
        while len(ticks) < before + 2:
            assert time.monotonic() < until
            time.sleep(0.005)
        link.say("; ".join(warned).encode() or b"nothing")

    failed = set()
    for number in range(1, 30 if after is None else 60):
        child = fork(one, number)
        assert child.link.hear() == b"ready"
        for _ in range(2):
            with socket.create_connection(listener.getsockname(), WAIT) as client:
                client.sendall(GET)
                answer = ended(client)
        assert answer.startswith(b"HTTP/1.1 200 "), number
        child.link.say()
        failed.add(child.link.hear())
        child.check()
    assert len(failed) > 8, "calls that failed"


# Patience.


def test_a_silent_client(serve, unix):
    """It holds its place for two seconds, then hears 408; meanwhile others are served."""
    status = serve(unix)
    began = time.monotonic()
    with status.connect() as silent:
        assert status.ask()[0] == 200
        assert parsed(ended(silent))[0] == 408
        assert time.monotonic() - began > 1.9


@pytest.mark.parametrize("data", [b"", b"G", GET[:-1], b"POST / HTTP/1.1\r\n"])
def test_half_a_request(serve, unix, data):
    """The same for one that stops in the middle."""
    status = serve(unix, REQUEST_SECONDS=0.2)
    with status.connect(data) as half:
        assert status.ask()[0] == 200
        assert parsed(read(half))[0] == 408


@pytest.mark.parametrize("data", [b"", b"G", GET[:-1]])
def test_gone_before_the_answer(serve, unix, data):
    """Clients that hang up in the middle leave nothing behind."""
    status = serve(unix)
    fds = descriptors(status.child.pid)
    for _ in range(100):
        status.connect(data).close()
    assert status.ask()[0] == 200
    until = time.monotonic() + WAIT
    while descriptors(status.child.pid) > fds:
        assert time.monotonic() < until
        os.sched_yield()


def test_reset_before_the_answer(serve, listener):
    """The same for those that break off with a reset."""
    status = serve(listener)
    for _ in range(100):
        with status.connect(GET) as sock:
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )  # on, 0 seconds: close() resets
    assert status.ask()[0] == 200


def test_slowloris(serve, unix):
    """A byte now and then buys no time: the deadline stands from the beginning."""
    status = serve(unix, REQUEST_SECONDS=0.5)
    began = time.monotonic()
    with status.connect() as slow:
        for i in range(1000):
            try:
                slow.sendall(GET[i : i + 1] if i < 20 else b"a")
            except (BrokenPipeError, ConnectionResetError):
                break
            if select.select([slow], [], [], 0.02)[0]:
                break
        else:
            pytest.fail("it could send all of it")
        assert time.monotonic() - began > 0.4
    assert status.ask()[0] == 200


def test_lingering_ends(serve, unix):
    """After its answer a client that stays is let go."""
    status = serve(unix, LINGER_SECONDS=0.2)
    with status.connect(GET) as stays:
        assert parsed(read(stays))[0] == 200
        for _ in range(1000):  # the answer's end was the end of what it sends, not of listening
            try:
                stays.sendall(b"x")
            except (BrokenPipeError, ConnectionResetError):
                break
            select.select([], [], [], 0.01)
        else:
            pytest.fail("it could send all of it")


def test_a_slow_reader(serve, unix):
    """It gets all of a large answer, in its own time; meanwhile others are served."""
    large = Large(2)
    status = serve(unix, large)
    with status.connect(GET) as slow:
        data, others = b"", 0
        while got := slow.recv(1 << 16):
            data += got
            if len(data) > others << 17:
                others += 1
                assert (
                    status.ask(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")[2] == b"small\n"
                )
    code, headers, body = parsed(data)
    assert (code, int(headers["content-length"])) == (200, len(large.body))
    assert body == large.body
    assert others >= 16


def test_one_who_does_not_read(serve, listener):
    """It is let go when its time is over; meanwhile others are served."""
    status = serve(listener, Large(), ANSWER_SECONDS=0.5)
    fds = descriptors(status.child.pid)
    began = time.monotonic()
    with status.connect(GET) as stuck:
        assert select.select([stuck], [], [], WAIT)[0]
        while descriptors(status.child.pid) > fds:
            assert status.ask(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")[2] == b"small\n"
            assert time.monotonic() - began < WAIT
        assert time.monotonic() - began > 0.4


def test_more_clients_than_places(serve, unix):
    """Of those that have sent nothing the oldest goes, and the newcomer is served."""
    status = serve(unix, REQUEST_SECONDS=2 * WAIT)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(status.connect()) for _ in range(server.places() + 8)]
        assert status.ask()[0] == 200
        for gone in silent[:8]:
            assert ended(gone) == b""
        assert not select.select(silent[-5:], [], [], 0)[0]


def test_silent_clients_drive_out_each_other_only(serve, unix):
    """A client that sends its request in two parts keeps its place, however many others connect
    and say nothing; so does one that is being answered."""
    status = serve(unix, Large(2))
    with contextlib.ExitStack() as stack:
        reading = stack.enter_context(status.connect(GET))
        assert select.select([reading], [], [], WAIT)[0]
        halves = [stack.enter_context(status.connect(GET[:9])) for _ in range(server.places() - 2)]
        silent = [stack.enter_context(status.connect()) for _ in range(100)]
        assert status.ask(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 200
        assert ended(silent[0]) == b""
        for half in halves:
            half.sendall(GET[9:])
        for client in [reading, *halves]:
            assert parsed(read(client))[0] == 200


@pytest.mark.parametrize(("limit", "most"), [(16, 1), (64, 2), (256, 8), (1 << 16, 8), (-1, 8)])
def test_places(monkeypatch, limit, most):
    """They are few, and fewer where there are few descriptors for the application."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, -1))
    assert server.places() == most


def test_a_crowd(serve, listener):
    """Many who ask at once are all answered."""
    status = serve(listener)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(status.connect(GET)) for _ in range(100)]
        for sock in socks:
            assert parsed(read(sock))[::2] == (200, TEXT)


def test_a_child_of_a_worker_does_not_keep_the_address(serve, listener):
    """The next server can have the address, and no client waits for the child. The descriptor's
    number stays taken: the child's objects would close another's."""

    def prepare(link):
        number = listener.fileno()
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                link.say(b"empty" if listener.getsockname() == "" else b"address")
                listener.close()
                signal.pause()
            os._exit(1)
        link.say(str(child).encode())
        assert listener.fileno() == number

    status = serve(listener, prepare=prepare)
    said = {status.child.link.hear(), status.child.link.hear()}
    said.remove(b"empty")
    (child,) = map(int, said)
    try:
        assert status.ask()[0] == 200
        status.child.kill()
        status.child.wait()
        address = listener.getsockname()
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, WAIT).close()
        open_listener((socket.AF_INET, address)).close()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_listener_that_opens_late(fork):
    """The socket was not listening when the thread began; any process that has it may open it."""
    sock = new_socket(socket.AF_INET)

    def work(link):
        StatusServer(sock, app(), lambda line: link.say(line.encode()), os.getppid()).start()
        link.say(b"ready")
        link.hear()

    with closing(sock):
        child = fork(work)
        assert child.link.hear() == b"ready"
        listen(sock, (socket.AF_INET, ("127.0.0.1", 0)), 0)
        with socket.create_connection(sock.getsockname(), WAIT) as client:
            client.settimeout(WAIT)
            client.sendall(GET)
            assert parsed(read(client))[::2] == (200, TEXT)
        child.link.say()
        child.check()


def exhaust(link):
    """Leave this process no descriptor until it is told."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    link.say(b"exhausted")
    link.hear()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    link.say(str(usage.ru_utime + usage.ru_stime).encode())


def test_out_of_descriptors(serve, listener):
    """The client waits and is answered when there are some again; nobody spins meanwhile."""
    status = serve(listener, prepare=exhaust)
    assert status.child.link.hear() == b"exhausted"
    before = Path(f"/proc/{status.child.pid}/stat").read_text().rpartition(")")[2].split()
    with status.connect(GET) as sock:
        assert not select.select([sock], [], [], 0.5)[0]
        status.child.link.say()
        used = float(status.child.link.hear())
        spent = (int(before[11]) + int(before[12])) / os.sysconf("SC_CLK_TCK")
        assert used - spent < 0.25, "seconds of processor time in half a second"
        assert parsed(read(sock))[::2] == (200, TEXT)


# Workers.


def test_a_worker_stuck_in_c_swallows_nothing(serve, listener):
    """While one worker cannot run Python the other answers, each time."""
    ours, its = socket.socketpair()

    def busy(link):
        """Stay in one C call that keeps the GIL, until it is told."""
        link.hear()
        link.say(b"busy")
        ctypes.PyDLL(None).read(its.fileno(), ctypes.create_string_buffer(1), 1)

    with ours, its:
        stuck = serve(listener, prepare=busy)
        other = serve(listener)
        stuck.child.link.say()
        assert stuck.child.link.hear() == b"busy"
        for _ in range(50):
            assert other.ask()[0] == 200
        ours.send(b".")


def test_a_killed_worker_leaves_the_address(serve, listener):
    """The others go on answering."""
    first, second = serve(listener), serve(listener)
    first.child.kill()
    first.child.wait()
    for _ in range(10):
        assert second.ask()[0] == 200


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no pidfd_open(2) here")
def test_an_orphan_leaves_the_address(fork, listener):
    """However long it lives: the next arbiter needs the address."""
    arbiter = fork(lambda link: link.hear())

    def orphan(link):
        StatusServer(listener, app(), lambda line: link.say(line.encode()), arbiter.pid).start()
        link.say(b"ready")
        assert link.hear() == b"killed"
        until = time.monotonic() + WAIT
        while listener.fileno() >= 0:
            assert time.monotonic() < until
        assert len(list(Path("/proc/self/task").iterdir())) <= 2

    child = fork(orphan)
    assert child.link.hear() == b"ready"
    address = listener.getsockname()
    listener.close()
    arbiter.kill()
    arbiter.wait()
    child.link.say(b"killed")
    child.check()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, WAIT).close()


class Slow:
    """An app that lets the interpreter go while it finds out the answer."""

    def __init__(self, link):
        self.link = link

    def answer(self, method, path, *rest):
        self.link.say(b"asked")
        time.sleep(0.2)
        return Answer(200, b"late\n")


def test_a_worker_that_ends_finishes_its_answer(fork, listener):
    """The interpreter's end stops the thread wherever it is, but first it may finish."""

    def worker(link):
        StatusServer(listener, Slow(link), lambda line: link.say(line.encode()), 1).start()
        link.say(b"ready")
        assert link.hear() == b"end"
        atexit._run_exitfuncs()

    child = fork(worker)
    assert child.link.hear() == b"ready"
    with socket.create_connection(listener.getsockname(), WAIT) as client:
        client.sendall(GET)
        assert child.link.hear() == b"asked"
        child.link.say(b"end")
        assert parsed(read(client))[::2] == (200, b"late\n")
    child.check()


def masks(link):
    own = os.getpid()
    for task in Path("/proc/self/task").iterdir():
        name = b"main" if int(task.name) == own else b"thread"
        until = time.monotonic() + 2
        # a thread begins with all signals blocked, until the C library has set its mask
        while blocked_in(task) & 1 << (signal.SIGBUS - 1) and time.monotonic() < until:
            threading.Event().wait(0.001)
        link.say(name + b" %x" % blocked_in(task))


def blocked_in(task):
    """Return the signals that a thread blocks, a bit each."""
    fields = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
    return int(fields["SigBlk"], 16)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_signals_are_the_workers(serve, listener):
    """The thread takes none of them; the worker's own mask is as it was."""
    status = serve(listener, prepare=masks)
    found = dict(status.child.link.hear().split() for _ in range(2))
    assert int(found[b"main"], 16) == 0
    blocked = int(found[b"thread"], 16)
    for sig in (signal.SIGTERM, signal.SIGCHLD, signal.SIGABRT, signal.SIGUSR1, signal.SIGALRM):
        assert blocked & 1 << (sig - 1)
    # the kernel kills a process whose thread blocks what it causes, past every handler
    for name in ("SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"):
        assert not blocked & 1 << (signal.Signals[name] - 1), name


def fork_one(link):
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside a thread: that is the point
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        signal.pause()
    link.say(str(pid).encode())


def test_a_child_of_a_worker_holds_no_client(serve, unix):
    """What the application forks has a copy of each descriptor; clients see their end all the
    same."""

    def fork_then(link):
        link.hear()
        fork_one(link)

    status = serve(unix, prepare=fork_then, LINGER_SECONDS=0.1)
    with status.connect(GET[:5]) as client:
        assert not select.select([client], [], [], 0.1)[0]
        status.child.link.say()
        pid = int(status.child.link.hear())
        try:
            client.sendall(GET[5:])
            assert parsed(read(client))[0] == 200
        finally:
            os.kill(pid, signal.SIGKILL)


def test_a_child_of_a_worker_holds_no_evicted_client(serve, unix):
    """Nor those that are let go without an answer."""

    def fork_then(link):
        server.MOST_CONNECTIONS = 1
        link.hear()
        fork_one(link)

    status = serve(unix, prepare=fork_then)
    with status.connect() as client:
        assert not select.select([client], [], [], 0.1)[0]
        status.child.link.say()
        pid = int(status.child.link.hear())
        try:
            with status.connect(GET) as stays:  # one that has gone would need no place
                assert parsed(read(stays))[0] == 200
                assert ended(client) == b""
        finally:
            os.kill(pid, signal.SIGKILL)


def test_port_free_again(serve, fork):
    """After a restart the port can be bound at once, connections of before notwithstanding."""
    with closing(open_listener((socket.AF_INET, ("127.0.0.1", 0)))) as listener:
        address = listener.getsockname()
        status = serve(listener, LINGER_SECONDS=0.0)
        assert status.ask()[0] == 200
        status.child.kill()
        status.child.wait()
    with closing(open_listener((socket.AF_INET, address))) as listener:
        assert listener.getsockname() == address
