"""Middleware and ASGIMiddleware: phases, totals, forks, and an application left in peace."""

import asyncio
import contextlib
import errno
import gc
import io
import json
import os
import signal
import threading
from wsgiref.util import FileWrapper

import pytest

from gunicorn_raindrops import ASGIMiddleware, Middleware, Struct
from gunicorn_raindrops._native import _objects
from gunicorn_raindrops.counting import slots
from gunicorn_raindrops.scoreboard.board import Scoreboard

LOCAL = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "127.0.0.1"}


@pytest.fixture(autouse=True)
def forgotten_files(nothing_left, monkeypatch):
    """Close the descriptors of all scoreboards of a test: a middleware's lasts as long as its
    process."""
    boards, make = [], Scoreboard._map

    def remember(board, *args, **kwargs):
        make(board, *args, **kwargs)
        boards.append(board)

    monkeypatch.setattr(Scoreboard, "_map", remember)
    yield
    for board in boards:
        board.forget_file()


class Stats(Struct):
    other: int
    writing: int
    calling: int


class Server:
    """As much of a WSGI server as a test needs, each step by hand."""

    def __init__(self, app, **environ):
        self.app = app
        self.environ = {**LOCAL, "wsgi.file_wrapper": FileWrapper, **environ}
        self.started = []
        self.written = []

    def start_response(self, status, headers, exc_info=None):
        if exc_info and self.written:
            raise exc_info[1]
        self.started.append((status, headers))
        return self.written.append

    def call(self, **environ):
        return self.app({**self.environ, **environ}, self.start_response)

    def run(self, **environ):
        """Call, iterate and close, as PEP 3333 has it."""
        body = self.call(**environ)
        try:
            return list(body)
        finally:
            if hasattr(body, "close"):
                body.close()


def status_of(middleware, **environ):
    """Ask a WSGI middleware for its JSON."""
    server = Server(middleware)
    (body,) = server.call(PATH_INFO="/_raindrops.json", **environ)
    assert server.started[0][0] == "200 OK"
    return json.loads(body)


def gauges(middleware):
    status = status_of(middleware)
    return status["calling"], status["writing"]


def totals(middleware):
    """Requests, those of each class that has any, and errors."""
    status = status_of(middleware)
    assert (status["calling"], status["writing"]) == (0, 0)
    return status["requests"], {k: v for k, v in status["responses"].items() if v}, status["errors"]


def replying(body, status="200 OK"):
    def app(environ, start_response):
        start_response(status, [])
        return body() if callable(body) else body

    return app


class Closing:
    """An iterable that notes its end."""

    def __init__(self, *chunks):
        self.chunks = chunks
        self.closed = 0

    def __iter__(self):
        return iter(self.chunks)

    def close(self):
        self.closed += 1


# Phases.


@pytest.mark.parametrize("kind", ["slots", "stats"])
def test_calling_until_the_call_returns_writing_until_close(kind):
    """A request is calling inside the application, writing till the close, then gone."""
    seen = []
    stats = Stats() if kind == "stats" else None

    def app(environ, start_response):
        seen.append(gauges(middleware))
        start_response("200 OK", [])
        return Closing(b"a", b"b")

    middleware = Middleware(app, stats=stats)
    body = Server(middleware).call()
    seen.append(gauges(middleware))
    assert list(body) == [b"a", b"b"]
    seen.append(gauges(middleware))
    body.close()
    assert [*seen, gauges(middleware)] == [(1, 0), (0, 1), (0, 1), (0, 0)]
    if stats is not None:
        assert stats.as_dict() == {"other": 0, "writing": 0, "calling": 0}


@pytest.mark.parametrize("status", ["100 C", "204 No", "302 F", "404 N", "503 S", "999 ?"])
def test_totals_by_class(status):
    """Each class has its total; a strange status has none."""
    middleware = Middleware(replying([b""], status))
    Server(middleware).run()
    classes = {} if status[0] == "9" else {f"{status[0]}xx": 1}
    assert totals(middleware) == (1, classes, 0)


def test_closed_twice():
    """A second close closes the application's iterable again, and counts nothing."""
    inner = Closing(b"x")
    middleware = Middleware(replying(inner))
    body = Server(middleware).call()
    body.close()
    body.close()
    assert inner.closed == 2
    assert totals(middleware) == (1, {"2xx": 1}, 0)


@pytest.mark.parametrize("iterate", [False, True])
def test_never_closed(iterate):
    """A body that the server drops leaves the gauge as it is collected."""
    middleware = Middleware(replying(lambda: Closing(b"x")))
    body = Server(middleware).call()
    if iterate:
        assert list(body) == [b"x"]
    assert gauges(middleware) == (0, 1)
    del body
    assert totals(middleware) == (1, {"2xx": 1}, 0)


def test_never_iterated():
    """A server that closes at once, as for HEAD, starts no generator; no class without a status."""
    ran = []

    def app(environ, start_response):
        ran.append(1)
        start_response("200 OK", [])
        yield b"x"

    middleware = Middleware(app)
    Server(middleware).call().close()
    assert ran == []
    assert totals(middleware) == (1, {}, 0)


def test_a_generator_gives_its_status_late():
    """start_response called at the first iteration is heard."""

    def app(environ, start_response):
        yield b""
        start_response("404 Not Found", [])
        yield b"x"

    middleware = Middleware(app)
    assert Server(middleware).run() == [b"", b"x"]
    assert totals(middleware) == (1, {"4xx": 1}, 0)


def test_no_status_at_all_is_a_500():
    """Servers answer so to an application that never calls start_response."""
    middleware = Middleware(lambda environ, start_response: [])
    Server(middleware).run()
    assert totals(middleware) == (1, {"5xx": 1}, 0)


def test_length_and_iterators():
    """A list keeps its length; a generator gets none, and is its own iterator as it was."""
    body = Server(Middleware(replying([b"one"]))).call()
    assert len(body) == 1
    body = Server(Middleware(replying(lambda: (c for c in [b"a", b"b"])))).call()
    assert not hasattr(body, "__len__")
    assert (next(body), list(body)) == (b"a", [b"b"])


def test_write_and_exc_info():
    """The write callable works; after it, exc_info raises as the server does, and counts."""

    def app(environ, start_response):
        write = start_response("200 OK", [("A", "b")])
        write(b"written")
        try:
            raise KeyError("late")
        except KeyError as error:
            start_response("500 Error", [], (KeyError, error, error.__traceback__))
        return []

    server = Server(Middleware(app))
    with pytest.raises(KeyError):
        server.call()
    assert server.written == [b"written"]
    assert server.started == [("200 OK", [("A", "b")])]
    assert totals(server.app) == (1, {"2xx": 1}, 1)


def test_exc_info_replaces_the_status():
    """The status that was given last, before anything was sent, is the one that counts."""

    def app(environ, start_response):
        start_response("200 OK", [])
        error = ValueError()
        start_response("503 Oops", [], exc_info=(ValueError, error, None))
        return [b"x"]

    middleware = Middleware(app)
    Server(middleware).run()
    assert totals(middleware) == (1, {"5xx": 1}, 0)


# An application that raises.


def raising(where):
    def chunks():
        if where == "first":
            raise LookupError(where)
        yield b"x"
        raise LookupError(where)

    class Bad(Closing):
        def __iter__(self):
            if where == "iter":
                raise LookupError(where)
            return super().__iter__()

        def close(self):
            if where == "close":
                raise LookupError(where)

    def app(environ, start_response):
        if where == "before":
            raise LookupError(where)
        write = start_response("200 OK", [])
        if where == "write":
            write(b"x")
        if where in ("after", "write"):
            raise LookupError(where)
        return chunks() if where in ("first", "mid") else Bad(b"x")

    return app


@pytest.mark.parametrize("where", ["before", "after", "write", "iter", "first", "mid", "close"])
def test_an_application_that_raises(where):
    """Its own exception goes on; one error; 5xx unless a byte was out already."""
    middleware = Middleware(raising(where))
    with pytest.raises(LookupError, match=where):
        Server(middleware).run()
    gc.collect()
    code = "2xx" if where in ("write", "mid", "close") else "5xx"
    assert totals(middleware) == (1, {code: 1}, 1)


def test_a_client_that_is_gone_is_no_error():
    """An OSError of the server's write passes through as what it is."""

    def app(environ, start_response):
        start_response("200 OK", [])(b"x")

    class Gone(Server):
        def start_response(self, status, headers, exc_info=None):
            def write(data):
                raise BrokenPipeError

            return write

    middleware = Middleware(app)
    with pytest.raises(BrokenPipeError):
        Gone(middleware).call()
    assert totals(middleware) == (1, {}, 0)


def test_another_error_of_the_servers_write_is_one():
    """It does not say that the client is gone."""

    def app(environ, start_response):
        start_response("200 OK", [])(b"x")

    class Broken(Server):
        def start_response(self, status, headers, exc_info=None):
            def write(data):
                raise OSError(errno.EIO, "no")

            return write

    middleware = Middleware(app)
    with pytest.raises(OSError, match="no"):
        Broken(middleware).call()
    assert totals(middleware) == (1, {"5xx": 1}, 1)


def test_not_an_iterable():
    """What no server can send is the server's to complain of. None of them can send None but
    uWSGI, which sends a response without a body."""
    for body in (b"bytes", "text"):
        middleware = Middleware(replying(body))
        assert Server(middleware).call() is body
        assert totals(middleware) == (1, {"2xx": 1}, 0)
    for more, expected in (({}, (1, {"5xx": 1}, 1)), ({"uwsgi.version": b"2"}, (1, {"2xx": 1}, 0))):
        middleware = Middleware(replying(None))
        assert Server(middleware, **more).call() is None
        assert totals(middleware) == expected
    with pytest.raises(TypeError, match="not iterable"):
        Server(Middleware(replying(lambda: 7))).run()


# Files.


def file_of(data):
    def app(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(data))

    return app


def test_a_wrapped_file_reaches_the_server_untouched():
    """Its type, its content and its close stay; writing ends at the close."""
    middleware = Middleware(file_of(b"data"))
    body = Server(middleware).call()
    assert type(body) is FileWrapper
    assert gauges(middleware) == (0, 1)
    assert b"".join(body) == b"data"
    file = body.filelike
    body.close()
    body.close()
    assert file.closed
    assert totals(middleware) == (1, {"2xx": 1}, 0)


def test_a_wrapped_file_that_is_never_closed():
    """It leaves the gauge as it is collected."""
    middleware = Middleware(file_of(b"data"))
    body = Server(middleware).call()
    del body
    gc.collect()
    assert totals(middleware) == (1, {"2xx": 1}, 0)


def test_a_wrapper_that_is_a_function(tmp_path):
    """uWSGI's returns the file itself, and knows it again by its identity."""
    path = tmp_path / "file"
    path.write_bytes(b"data")
    given = []

    def wrapper(file, size=0):
        given.append(file)
        return file

    def app(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    middleware = Middleware(app)
    body = Server(middleware).call(**{"wsgi.file_wrapper": wrapper})
    assert body is given[0]
    assert gauges(middleware) == (0, 1)
    body.close()
    assert body.closed
    assert totals(middleware) == (1, {"2xx": 1}, 0)


def test_a_wrapper_whose_objects_take_no_attribute():
    """Then the request counts until the application returns."""

    class Wrapper:
        __slots__ = ("file",)

        def __init__(self, file):
            self.file = file

    middleware = Middleware(file_of(b"data"))
    body = Server(middleware).call(**{"wsgi.file_wrapper": Wrapper})
    assert type(body) is Wrapper
    assert totals(middleware) == (1, {"2xx": 1}, 0)


# Processes and threads.


def in_child(function):
    """Run a function in a fork; returns a function that waits for it to succeed."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def join():
        assert os.waitpid(pid, 0)[1] == 0

    return join


def test_exact_over_processes_and_threads():
    """Four processes of four threads: each its own slot, each request once."""
    middleware = Middleware(replying([b"x"]))

    def work():
        def requests():
            for _ in range(500):
                Server(middleware).run()

        threads = [threading.Thread(target=requests) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (mine,) = [w for w in status_of(middleware)["workers"] if w["pid"] == os.getpid()]
        assert mine["requests"] == 2000
        assert mine["age"] is None

    for join in [in_child(work) for _ in range(4)]:
        join()
    assert totals(middleware) == (8000, {"2xx": 8000}, 0)
    assert set(status_of(middleware)["scoreboard"]) == {"."}


class Held:
    """A fork that runs a function, which gets another to say that it is there, and then stays."""

    def __init__(self, function):
        self.function = function

    def __enter__(self):
        there, here = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.function(lambda: os.write(here, b"x"))
                signal.pause()
            finally:
                os._exit(1)
        os.close(here)
        assert os.read(there, 1) == b"x", "it has died"
        os.close(there)
        return self

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def __exit__(self, *_):
        self.kill()


@pytest.mark.parametrize("held", ["calling", "writing"])
def test_a_killed_process_takes_its_requests_along(held):
    """SIGKILL in the middle of a request: it is out of the gauges, totals stay."""

    def app(environ, start_response):
        start_response("200 OK", [])
        if "there" in environ and held == "calling":
            environ["there"]()
            signal.pause()
        return [b"x"]

    def child(there):
        Server(middleware).run()
        body = Server(middleware).call(there=there)
        there()
        signal.pause()
        list(body)

    middleware = Middleware(app)
    Server(middleware).run()
    with Held(child) as process:
        status = status_of(middleware)
        assert status[held] == 1 and status["calling"] + status["writing"] == 1
        assert [w["state"] for w in status["workers"] if w["pid"] == process.pid] == [held]
        process.kill()
        assert totals(middleware) == (2, {"2xx": 2}, 0)


@pytest.mark.parametrize("kind", ["slots", "stats"])
def test_a_child_does_not_end_its_parents_request(kind):
    """A fork within a request leaves with the server's stack, and ends nothing of its parent's."""
    stats = Stats() if kind == "stats" else None
    middleware = Middleware(replying([b"x"]), stats=stats)
    body = Server(middleware).call()
    in_child(body.close)()
    assert gauges(middleware) == (0, 1)
    in_child(lambda: Server(middleware).run())()
    assert gauges(middleware) == (0, 1)
    body.close()
    assert gauges(middleware) == (0, 0)


def test_more_processes_than_slots():
    """They serve uncounted, and are counted as untracked, once each; a slot that is free again
    is taken."""
    middleware = Middleware(replying([b"x"]), max_workers=1)

    def child(there):
        Server(middleware).run()
        there()

    with Held(child) as process:
        for _ in range(3):
            assert Server(middleware).run() == [b"x"]
        middleware._slots._full.clear()  # what RETRY_SECONDS do
        assert Server(middleware).run() == [b"x"]
        status = status_of(middleware)
        assert (status["requests"], status["untracked"], len(status["workers"])) == (1, 1, 1)
        process.kill()
        middleware._slots._full.clear()
        Server(middleware).run()
        status = status_of(middleware)
        assert (status["requests"], status["untracked"]) == (2, 0)


def test_two_first_requests_at_once():
    """Two threads that both find no slot share one in the end."""
    board = Scoreboard(4)
    found = slots.BoardSlotOfProcess(board)
    hold = found._hold

    def overtaken():
        found._hold = hold
        assert found.begin("GET", "/")
        return hold()

    found._hold = overtaken
    assert found.begin("GET", "/")
    (row,) = board.read().rows
    assert row.calling == 2


def test_a_file_shared_without_a_fork(tmp_path):
    """Middlewares made apart count together in one file; totals outlive them."""
    file = tmp_path / "board"
    first = Middleware(replying([b"x"]), file=file)
    second = Middleware(replying([b"x"]), file=file)
    Server(first).run()
    Server(second).run()
    assert totals(first) == totals(second) == (2, {"2xx": 2}, 0)
    assert status_of(first)["untracked"] == 0
    del first, second
    third = Middleware(replying([b"x"]), file=file)
    assert totals(third)[0] == 2


def test_a_file_that_another_server_has(tmp_path, monkeypatch, caplog):
    """An arbiter's file stays its own: one warning, and the counts are in memory."""
    monkeypatch.setattr(slots, "SHARE_SECONDS", 0.05)
    board = Scoreboard(4, str(tmp_path / "board"))
    middleware = Middleware(replying([b"x"]), file=tmp_path / "board")
    Server(middleware).run()
    assert totals(middleware)[0] == 1
    assert board.read().requests == 0
    (record,) = caplog.records
    assert "another server's" in record.message


def test_a_request_that_is_cancelled_counts_nothing():
    """For servers that begin before they know whose request it is."""
    board = Scoreboard(1)
    mine, ticket = slots.BoardSlotOfProcess(board).begin("GET", "/")
    assert board.read().rows[0].calling == 1
    mine.end(ticket, _objects.CANCELLED)
    reading = board.read()
    assert (reading.rows[0].calling, reading.requests) == (0, 0)
    assert reading.request_seconds.count == 0


# The status.


def test_status_text_and_json():
    """The original's lines; everything in JSON, null for what is not known; nothing counted."""
    middleware = Middleware(replying([b"x"]), listeners=["127.0.0.1:1"])
    server = Server(middleware)
    (text,) = server.call(PATH_INFO="/_raindrops")
    assert text.decode().splitlines()[:2] == ["calling: 0", "writing: 0"]
    assert b"127.0.0.1:1 active: 0\n127.0.0.1:1 queued: 0\n" in text
    assert dict(server.started[0][1])["Content-Type"].startswith("text/plain")
    status = status_of(middleware)
    assert status["arbiter"]["pid"] == os.getpid()
    assert status["arbiter"]["gunicorn"] is status["arbiter"]["worker_class"] is None
    assert status["capacity"] is status["utilization"] is None
    assert (status["requests"], status["workers"]) == (0, [])


def test_status_with_stats():
    """Only what the Struct tells is known."""
    status = status_of(Middleware(replying([]), stats=Stats(calling=3, writing=2)))
    assert (status["calling"], status["writing"]) == (3, 2)
    for name in [
        "requests",
        "responses",
        "errors",
        "capacity",
        "untracked",
        "scoreboard",
        "workers",
    ]:
        assert status[name] is None


@pytest.mark.parametrize(
    "environ",
    [
        {"REMOTE_ADDR": "192.0.2.1"},
        {"REMOTE_ADDR": ""},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"PATH_INFO": "/_raindrops/"},
    ],
)
def test_who_may_not_read_goes_on_to_the_application(environ):
    """As if we were not there, and counted."""
    middleware = Middleware(replying([b"app"]))
    assert Server(middleware).run(**{"PATH_INFO": "/_raindrops", **environ}) == [b"app"]
    assert totals(middleware)[0] == 1


def test_token_method_and_head():
    """401 without the token, 405 for a POST, no body for a HEAD."""
    middleware = Middleware(replying([b"app"]), path="/s", token="secret", allow="unix")
    for environ, status in [
        ({}, "401 Unauthorized"),
        ({"HTTP_AUTHORIZATION": "Bearer secret"}, "200 OK"),
        ({"HTTP_AUTHORIZATION": "Bearer secret", "REQUEST_METHOD": "POST"}, "405 Method"),
    ]:
        server = Server(middleware, PATH_INFO="/s", REMOTE_ADDR="")
        assert server.call(**environ)
        assert server.started[0][0].startswith(status)
    server = Server(middleware, PATH_INFO="/s", REMOTE_ADDR="", HTTP_AUTHORIZATION="Bearer secret")
    assert server.call(REQUEST_METHOD="HEAD") == []


def test_a_status_that_fails(monkeypatch, caplog):
    """500 to its reader, one warning, nothing to the application."""
    middleware = Middleware(replying([b"app"]))
    monkeypatch.setattr(middleware._status, "_take", lambda: 1 / 0)
    for _ in range(2):
        server = Server(middleware)
        server.call(PATH_INFO="/_raindrops")
        assert server.started[0][0].startswith("500")
    assert len(caplog.records) == 1


@pytest.mark.parametrize("cls", [Middleware, ASGIMiddleware])
@pytest.mark.parametrize(
    ("keywords", "error", "says"),
    [
        ({"path": "/"}, ValueError, "path: "),
        ({"max_workers": 0}, ValueError, "max_workers: "),
        ({"allow": ["nobody"]}, ValueError, "allow: "),
        ({"listeners": ["host:80"]}, ValueError, "listeners: "),
        ({"token": "b\nad"}, ValueError, "token: the given value"),
        ({"stats": object()}, TypeError, "stats must be a Struct"),
        ({"app": 7}, TypeError, "app must be"),
        ({"paht": "/x"}, TypeError, "paht"),
    ],
)
def test_bad_keywords(cls, keywords, error, says):
    """One clear line."""
    with pytest.raises(error, match=says) as caught:
        cls(**{"app": replying([]), **keywords})
    assert "\n" not in str(caught.value)


def test_a_file_beside_stats():
    """There is no scoreboard to keep in it."""
    with pytest.raises(ValueError, match="file: "):
        Middleware(replying([]), stats=Stats(), file="x")


# ASGI.


class Client:
    """One ASGI request, its messages kept."""

    def __init__(self, app, path="/", method="GET", client=("127.0.0.1", 1), headers=(), root=""):
        self.app = app
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": root,
            "client": client,
            "headers": [(k.encode(), v.encode()) for k, v in dict(headers).items()],
        }
        self.sent = []
        self.receivable = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive(self):
        return self.receivable.pop(0) if self.receivable else {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    def coroutine(self):
        return self.app(self.scope, self.receive, self.send)

    def run(self):
        asyncio.run(self.coroutine())
        return self.sent[0]["status"], b"".join(m.get("body", b"") for m in self.sent[1:])


def asgi_status(middleware):
    code, body = Client(middleware, "/_raindrops.json").run()
    assert code == 200
    return json.loads(body)


def asgi_totals(middleware):
    status = asgi_status(middleware)
    assert (status["calling"], status["writing"]) == (0, 0)
    return status["requests"], {k: v for k, v in status["responses"].items() if v}, status["errors"]


START = {"type": "http.response.start", "status": 201, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}


def sending(*messages):
    async def app(scope, receive, send):
        for message in messages:
            if isinstance(message, BaseException):
                raise message
            await send(message)

    return app


def test_asgi_phases():
    """Calling until the start, writing until the last body, whatever comes after it."""
    seen = []

    def look():
        board = middleware._status._take()
        seen.append((board.calling, board.writing))

    async def app(scope, receive, send):
        look()
        await send(START)
        look()
        await send({**BODY, "more_body": True})
        look()
        await send(BODY)
        look()

    middleware = ASGIMiddleware(app)
    Client(middleware).run()
    assert seen == [(1, 0), (0, 1), (0, 1), (0, 0)]
    assert asgi_totals(middleware) == (1, {"2xx": 1}, 0)


MORE = {**BODY, "more_body": True}
TRAILERS = {"type": "http.response.trailers", "headers": []}


@pytest.mark.parametrize(
    ("messages", "classes", "errors"),
    [
        ([START, MORE], {"2xx": 1}, 0),
        ([START, BODY, LookupError()], {"2xx": 1}, 0),
        ([{**START, "status": 500}, BODY, LookupError()], {"5xx": 1}, 1),
        ([LookupError()], {"5xx": 1}, 1),
        ([START, LookupError()], {"2xx": 1}, 1),
        ([START, MORE, LookupError()], {"2xx": 1}, 1),
        ([], {"5xx": 1}, 0),
        ([asyncio.CancelledError()], {}, 0),
        ([START, MORE, asyncio.CancelledError()], {"2xx": 1}, 0),
        ([{**START, "trailers": True}, BODY, LookupError()], {"2xx": 1}, 1),
        (
            [{"type": START["type"], "status": 201, "trailers": True}, BODY, LookupError()],
            {"2xx": 1},
            1,
        ),
        ([{**START, "trailers": True}, BODY, TRAILERS, LookupError()], {"2xx": 1}, 0),
        ([START, {"type": "http.response.pathsend", "path": "/x"}, LookupError()], {"2xx": 1}, 0),
    ],
)
def test_asgi_ends(messages, classes, errors):
    """However the application ends, its own exception goes on and the request is over."""
    middleware = ASGIMiddleware(sending(*messages))
    raised = [m for m in messages if isinstance(m, BaseException)]
    try:
        asyncio.run(Client(middleware).coroutine())
    except BaseException as error:
        assert [type(error)] == [type(m) for m in raised]
    else:
        assert not raised
    assert asgi_totals(middleware) == (1, classes, errors)


@pytest.mark.parametrize("how", ["receive", "send"])
def test_asgi_client_gone(how):
    """A client that went away is counted, and is no error, whatever the application makes of it."""

    async def app(scope, receive, send):
        await receive()
        if how == "send":
            await send(START)
        assert (await receive())["type"] == "http.disconnect"
        raise RuntimeError("client disconnected")

    class Gone(Client):
        async def send(self, message):
            raise OSError

    middleware = ASGIMiddleware(app)
    with pytest.raises(RuntimeError if how == "receive" else OSError):
        asyncio.run(Gone(middleware).coroutine())
    assert asgi_totals(middleware) == (1, {}, 0)


def test_asgi_requests_interleave_on_one_thread():
    """Hundreds at once, each in a phase of its own, some cancelled."""

    async def app(scope, receive, send):
        if scope["path"] == "/calling":
            await hold.wait()
        await send(START)
        await send(MORE)
        await hold.wait()
        await send(BODY)

    async def main():
        nonlocal hold
        hold = asyncio.Event()
        paths = ["/calling"] * 300 + ["/writing"] * 200
        tasks = [asyncio.ensure_future(Client(middleware, path).coroutine()) for path in paths]
        for _ in range(3):
            await asyncio.sleep(0)
        seen.append((middleware._status._take().calling, middleware._status._take().writing))
        for task in tasks[::3]:
            task.cancel()
        hold.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    hold, seen = None, []
    middleware = ASGIMiddleware(app)
    asyncio.run(main())
    assert seen == [(300, 200)]
    # the hundred that were cancelled before their start have no class
    assert asgi_totals(middleware) == (500, {"2xx": 400}, 0)


def test_asgi_passes_the_lifespan_through():
    """It is the application's, untouched, and no request."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["type"], receive, send))

    middleware = ASGIMiddleware(app)
    asyncio.run(middleware({"type": "lifespan"}, 1, 2))
    assert seen == [("lifespan", 1, 2)]
    assert asgi_totals(middleware) == (0, {}, 0)


async def websockets(middleware):
    client = Client(middleware, "/_raindrops.json")
    await client.coroutine()
    return json.loads(client.sent[1]["body"])["websockets"]


ACCEPT, CLOSE = {"type": "websocket.accept"}, {"type": "websocket.close"}


@pytest.mark.parametrize(
    ("steps", "open_"),
    [
        ([], [0]),
        ([ACCEPT], [0, 1]),
        ([ACCEPT, {"type": "websocket.send", "text": "x"}], [0, 1, 1]),
        ([ACCEPT, CLOSE], [0, 1, 0]),
        ([ACCEPT, CLOSE, "websocket.disconnect"], [0, 1, 0, 0]),
        ([ACCEPT, "websocket.receive", "websocket.disconnect"], [0, 1, 1, 0]),
        ([CLOSE], [0, 0]),
        ([{"type": "websocket.http.response.start", "status": 403}], [0, 0]),
        (["websocket.connect", ACCEPT], [0, 0, 1]),
    ],
)
@pytest.mark.parametrize("end", [None, ValueError("no"), asyncio.CancelledError()], ids=repr)
def test_asgi_websockets(steps, open_, end):
    """One is open from the accept to either side's close or the application's end, whatever that
    is; all along it is no request."""
    gauge, sent = [], []

    async def app(scope, receive, send):
        gauge.append(await websockets(middleware))
        for step in steps:
            if isinstance(step, str):
                assert (await receive())["type"] == step
            else:
                await send(step)
            gauge.append(await websockets(middleware))
        if end is not None:
            raise end

    async def receive():
        return {"type": next(words)}

    async def send(message):
        sent.append(message)

    async def main():
        await middleware({"type": "websocket", "path": "/_raindrops"}, receive, send)

    words = iter([step for step in steps if isinstance(step, str)])
    middleware = ASGIMiddleware(app)
    with pytest.raises(type(end)) if end is not None else contextlib.nullcontext():
        asyncio.run(main())
    assert gauge == open_
    assert sent == [step for step in steps if not isinstance(step, str)]
    status = asgi_status(middleware)
    assert (status["websockets"], status["calling"]) == (0, 0)
    assert asgi_totals(middleware) == (0, {}, 0)


def test_asgi_a_refused_accept_opens_nothing():
    """The server says that the client is gone: no websocket has been open."""

    async def app(scope, receive, send):
        await send(ACCEPT)

    async def send(message):
        raise OSError("gone")

    middleware = ASGIMiddleware(app)
    with pytest.raises(OSError, match="gone"):
        asyncio.run(middleware({"type": "websocket", "path": "/"}, None, send))
    assert asgi_status(middleware)["websockets"] == 0


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, 200),
        ({"root": "/api", "path": "/api/_raindrops"}, 200),
        ({"method": "POST"}, 405),
        ({"client": ("192.0.2.1", 1)}, 201),
        ({"client": None}, 201),
        ({"headers": {"x-forwarded-for": "127.0.0.1"}}, 201),
    ],
)
def test_asgi_status(request_, expected):
    """The same rules as for WSGI."""
    middleware = ASGIMiddleware(sending(START, BODY))
    assert Client(middleware, **{"path": "/_raindrops", **request_}).run()[0] == expected
    assert asgi_totals(middleware)[0] == (expected == 201)


def test_asgi_token_and_head():
    """The bearer token is read from the scope's headers; a HEAD has no body."""
    middleware = ASGIMiddleware(sending(START, BODY), token="secret")
    assert Client(middleware, "/_raindrops").run()[0] == 401
    bearer = {"authorization": "Bearer secret"}
    code, body = Client(middleware, "/_raindrops", headers=bearer).run()
    assert (code, body[:8]) == (200, b"calling:")
    assert Client(middleware, "/_raindrops", "HEAD", headers=bearer).run() == (200, b"")


@pytest.mark.parametrize("middleware", [Middleware, ASGIMiddleware])
def test_made_while_an_event_loop_runs(middleware, caplog, tmp_path, monkeypatch):
    """As by Starlette's add_middleware, at the first request: each process would count alone, so
    there is one warning, unless a file makes them one."""
    monkeypatch.setattr("gunicorn_raindrops.middleware._warned", set())

    async def make(**keywords):
        middleware(lambda *args: None, **keywords)

    asyncio.run(make(file=str(tmp_path / "shared")))
    middleware(lambda *args: None)
    assert caplog.messages == []
    asyncio.run(make())
    asyncio.run(make())
    (message,) = caplog.messages
    assert "event loop" in message
    assert "file" in message
