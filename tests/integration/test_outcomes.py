"""What a request counts as is what its client got, and whether the application failed; on real
servers, each way to fail."""

import contextlib
import re

import pytest

from .classes import CLASSES, PAIRS
from .servers import APPS, GUNICORNS, Server, connect, eventually

WSGI = [(g, one) for g, one in PAIRS if not one.is_asgi]
IDS = [f"{g}-{one.name}" for g, one in WSGI]
wsgi = pytest.mark.parametrize(("gunicorn", "kind"), WSGI, ids=IDS)
# how WSGI websockets end; a client that is gone, as far as anybody can tell
NO_ERROR = re.compile(r"(stop|stop-in-except|reset)/|(empty|fine)(/silent)?$")


def is_error(kind, path, got):
    """Tell whether the application has failed."""
    if kind.name in ("gevent_pywsgi", "tornado") and path.startswith("stop"):
        return True  # gunicorn's own workers know it
    if kind.name == "tornado" and path.startswith("reset"):
        return True  # it sends only when the application has returned
    if kind.name == "tornado" and path.endswith("silent"):
        return True  # it raises
    if kind.name == "eventlet" and path.startswith("none"):
        return False  # there it says that the application has answered by itself
    return not NO_ERROR.match(path) or (got is not None and got >= 500)


PATHS = [
    *(f"{how}/{when}" for how in ("value", "disk", "bare-os", "reset", "tls")
      for when in ("call", "start", "first", "middle", "close")),
    "stop/call", "stop/start", "stop/close", "stop-in-except/call", "stop-in-except/start",
    "none", "number", "text", "empty", "fine", "none/silent", "empty/silent", "header/silent",
]  # fmt: skip


@pytest.fixture(scope="module", params=WSGI, ids=IDS)
def server(request, tmp_path_factory):
    """One worker."""
    gunicorn, kind = request.param
    kind.available(gunicorn)
    tmp_path = tmp_path_factory.mktemp("outcomes")
    args = ("--workers", "1", *kind.args)
    with Server(
        tmp_path, *args, gunicorn=gunicorn, app="failing_app:app", tracebacks=None
    ) as server:
        server.kind, server.gunicorn = kind, gunicorn
        server.ready(1)
        yield server
        server.kill()


def ask(server, path, body, before):
    """Return the status that the client gets, None if it gets none. Before that so many requests
    were counted."""
    head = b"GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % path.encode()
    if body:
        head += b"Transfer-Encoding: chunked\r\n"
    with connect(server.address) as client:
        client.sendall(head + b"\r\n" + body)
        answer = received(client, lambda: server.told().get("requests", 0) > before)
    status = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(status[1]) if status else None


def received(client, is_counted):
    """Return the begin of an answer. tornado keeps a connection open to which it sends nothing:
    what has not come a second after the request was counted does not come."""
    answer, is_over = b"", False
    client.settimeout(1)
    with contextlib.suppress(ConnectionError):
        while not is_over and b"\r\n" not in answer:
            is_last = is_counted()
            try:
                more = client.recv(1000)
                answer, is_over = answer + more, not more
            except TimeoutError:
                is_over = is_last
    return answer


def totals(status):
    return {
        "requests": status["requests"], "errors": status["errors"], **status["responses"]
    }  # fmt: skip


def counted(server, path, body=b""):
    """Ask once; return the status that the client got, and what was counted."""
    before = totals(server.settled())
    got = ask(server, path, body, before["requests"])

    def new():
        status = server.told()
        if not status or status["calling"] + status["writing"]:
            return None
        after = totals(status)
        return after["requests"] > before["requests"] and after

    after = eventually(new, f"/{path} counted")
    return got, {name: n - before[name] for name, n in after.items() if n != before[name]}


def expected(got, errors):
    return {"requests": 1} | ({"errors": 1} if errors else {}) | (
        {f"{got // 100}xx": 1} if got else {}
    )  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_request_counts_as_what_its_client_got(server, path):
    """The class of the status that it got, none if it got none; an error if the application
    failed."""
    got, counts = counted(server, path)
    assert counts == expected(got, is_error(server.kind, path, got))


def test_what_tornado_refuses_late(server):
    """It has the whole response by then, and sends nothing, or, of one that is too short, all."""
    if server.kind.name != "tornado":
        pytest.skip("the others send what they have")
    are_as_sent(server)


def are_as_sent(server):
    for path, status in (("status", None), ("length/less", None), ("length/more", 200)):
        got, counts = counted(server, path)
        assert (got, counts) == (status, expected(status, True))


def test_in_a_container_of_the_application_s(serve):
    """The same, from the threads that it has."""
    kind = CLASSES["tornado"]
    kind.available("current")
    app = "tornado_container:app"
    with serve("--workers", "1", *kind.args, app=app, tracebacks=None) as server:
        assert server.ready(1)["capacity"] == 2
        are_as_sent(server)
        assert counted(server, "fine") == (200, expected(200, False))


def test_in_a_container_that_sends_by_itself(serve):
    """It has a handle_request of its own, which does not call the one of its base."""
    kind = CLASSES["tornado"]
    kind.available("current")
    with serve("--workers", "1", *kind.args, app="tornado_container:sending") as server:
        server.ready(1)
        assert counted(server, "fine") == (200, expected(200, False))


def test_a_malformed_body(server):
    """It is its client's fault that the application cannot read it."""
    if server.kind.name == "tornado":
        pytest.skip("tornado refuses it before the application is called")
    got, counts = counted(server, "read", b"rubbish\r\n")
    assert counts == expected(got, got == 500)


@wsgi
@pytest.mark.parametrize("path", ["exit/call", "exit/first", "exit/middle"])
def test_an_exit(serve, gunicorn, kind, path):
    """Some workers end by it, some answer it, some go on. It is an error where it is answered."""
    kind.available(gunicorn)
    args = ("--workers", "1", *kind.args)
    with serve(*args, gunicorn=gunicorn, app="failing_app:app", tracebacks=None) as server:
        server.ready(1)
        got, counts = counted(server, path)
        assert counts == expected(got, got == 500)


@wsgi
def test_a_server_that_was_started_in_an_except_block(serve, gunicorn, kind):
    """The exception that is handled all the time is no request's."""
    kind.available(gunicorn)
    launcher = (str(GUNICORNS[gunicorn]), str(APPS / "in_except.py"))
    args = ("--workers", "1", *kind.args)
    with serve(
        *args, gunicorn=gunicorn, app="failing_app:app", tracebacks=None, launcher=launcher
    ) as server:
        server.ready(1)
        for path in ("fine", "stop/call", "reset/middle", "value/call", "value/middle"):
            got, counts = counted(server, path)
            assert counts == expected(got, is_error(kind, path, got)), path


ASGI = [(g, one) for g, one in PAIRS if one.is_asgi]
ASGI_PATHS = [f"{how}/{when}" for how in ("value", "cancel", "return", "exit", "reset")
              for when in ("call", "start", "middle")]  # fmt: skip


@pytest.mark.parametrize(
    ("gunicorn", "kind"), ASGI, ids=[f"{g}-{one.name.split('.')[0]}" for g, one in ASGI]
)
def test_an_asgi_request_counts_as_what_its_client_got(serve, gunicorn, kind):
    """As above. gunicorn's asgi lets an exit end the worker."""
    kind.available(gunicorn)
    args = ("--workers", "1", *kind.args)
    with serve(*args, gunicorn=gunicorn, app="failing_asgi:app", tracebacks=None) as server:
        server.ready(1)
        for path in ASGI_PATHS:
            how = path.partition("/")[0]
            if (how, kind.name) == ("exit", "asgi"):
                continue
            got, counts = counted(server, path)
            is_error = how in ("value", "reset") or (how != "return" and got == 500)
            assert counts == expected(got, is_error), path
        server.kill()
