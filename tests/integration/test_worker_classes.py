"""What is special to some worker classes: websockets, HTTP/2, tornado's own applications, patched
processes, whose hooks are called, and the status on their applications' listeners."""

import base64
import contextlib
import os
import re
import signal
import socket

import pytest

from ..bounds import WAIT
from ..schema import parsed
from .classes import CLASSES, PAIRS, among, has
from .servers import BROKEN, connect, eventually

UVICORN = "uvicorn_worker.UvicornWorker"
asgi = pytest.mark.parametrize(
    ("gunicorn", "kind"),
    [(g, one) for g, one in PAIRS if one.is_asgi],
    ids=lambda value: getattr(value, "name", value),
)
hubs = pytest.mark.parametrize(
    ("gunicorn", "kind"),
    [("current", CLASSES["gevent"]), ("23", CLASSES["gevent"]), ("23", CLASSES["eventlet"])],
    ids=lambda value: getattr(value, "name", value),
)


class WebSocket:
    """A websocket's client, as much of RFC 6455 as the tests need."""

    def __init__(self, address, path="/websocket"):
        self.sock = connect(address)
        key = base64.b64encode(bytes(16)).decode()
        self.sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            got = self.sock.recv(1)
            assert got, head
            head += got
        self.status = int(head.split()[1])

    def say(self, text):
        """Send a text; its mask is zeros."""
        self.sock.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text.encode())

    def hear(self):
        """Return the kind of the next frame, and what is in it."""
        kind, length = self.sock.recv(1)[0] & 15, self.sock.recv(1)[0]
        return kind, self.sock.recv(length) if length else b""

    def close(self):
        """Hang up without a word."""
        self.sock.close()


def open_ones(server, number):
    """Wait for so many open websockets; returns the status."""
    return eventually(
        lambda: (s := server.status())["websockets"] == number and s, f"{number} websockets"
    )


def echoing(server):
    """Return a new websocket that has been heard through."""
    websocket = WebSocket(server.address)
    assert websocket.status == 101
    websocket.say("echo")
    assert websocket.hear() == (1, b"echo")
    return websocket


def ends_of_websockets(server):
    """Open some, end each in another way; none of it is a request."""
    ones = [echoing(server) for _ in range(3)]
    status = open_ones(server, 3)
    assert (status["calling"], status["writing"], status["requests"]) == (0, 0, 0)
    assert sum(worker["websockets"] for worker in status["workers"]) == 3
    ones[0].say("bye")  # the server closes it
    assert ones[0].hear()[0] == 8
    ones[0].close()
    open_ones(server, 2)
    ones[1].sock.sendall(bytes([0x88, 0x80, 0, 0, 0, 0]))  # the client does
    open_ones(server, 1)
    ones[1].close()
    ones[2].close()  # it just goes
    open_ones(server, 0)


@asgi
def test_websockets(serve, gunicorn, kind):
    """An open websocket is one, not a request, whoever ends it and how; a refused one never is."""
    kind.available(gunicorn)
    if kind.name.startswith("uvicorn") and not has(gunicorn, "websockets"):
        pytest.skip("no websockets beside uvicorn")
    args = ["--workers", "2", *kind.args]
    with serve(*args, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
        server.ready(2)
        refused = WebSocket(server.address, "/refused")
        assert refused.status == 403
        refused.close()
        ends_of_websockets(server)
        held = [echoing(server) for _ in range(8)]
        status = open_ones(server, 8)
        victim = max(status["workers"], key=lambda worker: worker["websockets"])
        os.kill(victim["pid"], signal.SIGKILL)
        left = 8 - victim["websockets"]
        server.heals(victim["pid"], lambda status: status["websockets"] == left, f"{left} open")
        for one in held:
            one.close()
        open_ones(server, 0)
        assert server.get("/")[0] == 200
        eventually(lambda: server.settled()["requests"] == 1, "one request in all")


ANSWERS = {"/": 200, "/nowhere": 404, "/boom": 500}


@asgi
def test_the_lifespan_passes_through(serve, gunicorn, kind):
    """The application is started by it, and its state reaches the requests."""
    kind.available(gunicorn)
    with serve("--workers", "1", *kind.args, gunicorn=gunicorn, app=kind.app) as server:
        server.ready(1)
        assert server.get("/started") == (200, b"lifespan")


def test_tornados_own_applications(serve, gate):
    """One that is neither WSGI nor ASGI is counted as any other, its websockets too, and responses
    that tornado sends in part, or refuses."""
    kind = CLASSES["tornado"]
    kind.available("current")
    with serve("--workers", "1", *kind.args, app="tornado_apps:app", tracebacks=None) as server:
        assert server.ready(1)["capacity"] == 1000
        ends_of_websockets(server)
        held = [gate.hold(server.address, path) for path in ("/hold", "/hold-writing")]
        assert {path: server.get(path)[0] for path in ANSWERS} == ANSWERS
        eventually(lambda: (s := server.text())["calling"] == s["writing"] == 1, "both at once")
        assert [one.release() for one in held] == [True, True]
        after = eventually(lambda: (s := server.settled())["requests"] == 5 and s, "all counted")
        assert after["responses"] == {"1xx": 0, "2xx": 3, "3xx": 0, "4xx": 1, "5xx": 1}
        left = gate.hold(server.address)
        eventually(lambda: server.text()["calling"] == 1, "held")
        # the client goes; the handler, which does not ask, comes to its end all the same
        left.hang_up()
        eventually(lambda: server.settled()["requests"] == 6, "counted")
        for path in ("/short", "/refused"):
            with contextlib.suppress(*BROKEN):
                server.get(path)
        after = eventually(lambda: (s := server.settled())["requests"] == 8 and s, "all counted")
        assert (after["errors"], after["responses"]["2xx"]) == (2, 5)


@pytest.mark.parametrize("name", ["gthread", "gevent", "asgi"])
def test_http2(serve, name):
    """Streams of one connection are requests like others."""
    h2 = pytest.importorskip("h2.connection")
    kind = CLASSES[name]
    kind.available("current")
    args = ["--workers", "1", *kind.args, "--http-protocols", "h2,h1"]
    args += ["--http2-cleartext", "prior-knowledge"]
    with serve(*args, app=kind.app, tracebacks=None) as server:
        server.ready(1)
        with connect(server.address) as sock:
            client = h2.H2Connection()
            client.initiate_connection()
            paths = ["/", "/nowhere", "/unavailable", "/boom", "/", "/stream?n=3&s=0&size=10"]
            for number, path in enumerate(paths):
                headers = {":method": "GET", ":path": path, ":scheme": "http", ":authority": "x"}
                client.send_headers(1 + 2 * number, headers.items(), end_stream=True)
            sock.sendall(client.data_to_send())
            seen = responses(client, sock, len(paths))
        assert sorted(seen) == [b"200", b"200", b"200", b"404", b"500", b"503"]
        status = eventually(
            lambda: (s := server.settled())["requests"] == len(paths) and s, "all counted"
        )
        assert status["responses"] == {"1xx": 0, "2xx": 3, "3xx": 0, "4xx": 1, "5xx": 2}
        assert status["errors"] == 1


def responses(client, sock, number):
    """Read until so many streams have ended; returns their statuses."""
    from h2.events import ResponseReceived, StreamEnded, StreamReset

    statuses, ended = [], 0
    while ended < number:
        data = sock.recv(65536)
        assert data, f"only {ended} streams have ended"
        for event in client.receive_data(data):
            if isinstance(event, ResponseReceived):
                statuses.append(dict(event.headers)[b":status"])
            ended += isinstance(event, (StreamEnded, StreamReset))
        sock.sendall(client.data_to_send())
    return statuses


# Patched processes.

SPY = """
{patch}
import _thread, logging, os, sys
import gunicorn_raindrops.reported as reported

def say(*words):  # in one write, since others write there too
    write(2, " ".join(map(str, ("spy:", *words))).encode() + b"\\n")

handle = logging.Logger.handle
def watched(self, record):
    say("logs", get_ident())
    return handle(self, record)

def audit(event, args):
    if event == "import" and seen and get_ident() in seen:
        say("imports", args[0])
seen = set()
sys.addaudithook(audit)

def failing(*args, **kwargs):
    seen.add(get_ident())
    say("asked", get_ident(), has_hub())
    raise OSError("the spy's")

def post_worker_init(worker):
    global get_ident, write
    from gunicorn_raindrops import unpatched
    get_ident = unpatched.original("_thread", "get_ident")
    write = unpatched.original("os", "write")
    say("main", get_ident())
    logging.Logger.handle = watched
    reported.kernel.tcp_listener_stats = failing

def has_hub():
    if "gevent" in sys.modules:
        from gevent._hub_local import get_hub_if_exists
        return get_hub_if_exists() is not None
    from eventlet import hubs
    return hasattr(hubs._threadlocal, "hub")

get_ident = _thread.get_ident
from gunicorn_raindrops import hooks
hooks.install(globals())
"""
PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}


def spied(server, what):
    """Return what the spy has said of something so far."""
    found = [re.match(rf"spy: {what} ?(.*)", line) for line in list(server.log)]
    return [match[1].split() for match in found if match]


@among("gevent", "eventlet")
@pytest.mark.parametrize("patched", ["by the worker", "by the conf"])
def test_the_status_thread_touches_nothing_of_the_hubs(serve, gunicorn, kind, patched):
    """It is a thread of its own that makes no hub, imports nothing and logs nothing: what it has
    to warn of, the worker's own thread logs, once."""
    kind.available(gunicorn)
    conf = SPY.format(patch=PATCH[kind.name] if patched == "by the conf" else "")
    args = ["--workers", "1", *kind.args]
    # an arbiter that eventlet has patched may break when a signal comes, with us or without
    with serve(*args, gunicorn=gunicorn, conf=conf, tracebacks=None) as server:
        server.ready(1)
        for _ in range(20):
            server.text()
        server.logged(r"WARNING.*listeners cannot be read.*the spy's")
        server.get("/")
        server.logged("spy: logs")
        server.kill()
    ((main,),) = spied(server, "main")
    asked = spied(server, "asked")
    assert len(asked) >= 20
    assert {hub for _, hub in asked} == {"False"}
    assert main not in {thread for thread, _ in asked}
    assert {thread for (thread,) in spied(server, "logs")} == {main}
    assert spied(server, "imports") == []
    assert len(server.warnings()) == 1


@pytest.mark.parametrize("worker_class", ["sync", "gthread"])
def test_a_conf_that_patches_under_threads(serve, worker_class, gate):
    """The process is patched though the workers are not gevent's: it counts and answers."""
    CLASSES["gevent"].available("current")
    conf = PATCH["gevent"] + "\nfrom gunicorn_raindrops.hooks import *\n"
    args = ["--workers", "1", "--worker-class", worker_class]
    with serve(*args, conf=conf, tracebacks=None) as server:
        server.ready(1)
        with gate.hold(server.address, "/hold-spinning"):
            for _ in range(5):
                assert server.text()["calling"] == 1
        for _ in range(10):
            assert server.get("/")[0] == 200
        eventually(lambda: server.settled()["requests"] == 11, "counted")
        server.kill()


@hubs
def test_requests_that_interleave_on_one_thread(serve, gunicorn, kind, gate, background):
    """Each greenlet's request has a phase of its own, and ends as its own."""
    kind.available(gunicorn)
    with serve("--workers", "1", *kind.args, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(1)
        held = []
        for _ in range(20):
            held += [gate.hold(server.address), gate.hold(server.address, "/hold-writing")]
            background.add(server.get, "/boom")
        background.join()
        eventually(
            lambda: (t := server.text())["calling"] == t["writing"] == 20, "twenty in each phase"
        )
        assert all(one.release() for one in held)
        after = eventually(
            lambda: (s := server.settled())["requests"] == 60 and s, "all of them counted"
        )
        assert after["responses"] == {"1xx": 0, "2xx": 40, "3xx": 0, "4xx": 0, "5xx": 20}
        assert after["errors"] == 20
        server.kill()


USERS = """
import os
def pre_request(worker, req): os.write(2, b"mine: pre_request\\n")
def post_request(worker, req, environ, resp): os.write(2, b"mine: post_request\\n")
import gunicorn_raindrops
gunicorn_raindrops.hooks.install(globals())
"""

# Applications that are left in peace.


def test_asgi_waits_for_no_background_task(serve, background):
    """gunicorn's asgi worker lets a connection go on beside an application that has answered,
    unless there is a post_request hook: under the shipped config there is none."""
    with serve("--workers", "1", "--worker-class", "asgi", app="asgi_apps:app") as server:
        server.ready(1)
        with connect(server.address) as client:
            for path in (b"/background?s=600", b"/"):
                client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
                assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
            # what it does after its response is no request
            eventually(lambda: server.settled()["requests"] == 2, "counted")
        server.kill()


APPLICATIONS = """
from asgi_apps import app as asgi3

def factory():
    return asgi3

def asgi2(scope):
    async def instance(receive, send):
        await asgi3(scope, receive, send)
    return instance
"""


@pytest.mark.parametrize("name", ["factory", "asgi2"])
def test_uvicorn_still_sees_what_an_application_is(serve, tmp_path, name):
    """A factory and an application of ASGI 2 are served as without us, and counted."""
    kind = CLASSES[UVICORN]
    kind.available("current")
    (tmp_path / "others.py").write_text(APPLICATIONS)
    args = ["--workers", "1", *kind.args, "--pythonpath", str(tmp_path)]
    with serve(*args, app=f"others:{name}") as server:
        server.ready(1)
        assert server.get("/nowhere")[0] == 404
        eventually(lambda: server.settled()["responses"]["4xx"] == 1, "counted")


# The status on the application's own listeners.


served = among("gevent", "eventlet", "gevent_pywsgi", "tornado", "asgi", UVICORN)
"""Sync and gthread have these tests beside those of the settings."""


def ask_unix(path, name=None):
    """Ask for the status through a unix listener, from a socket of that name."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT)
        if name is not None:
            client.bind(name)
        client.connect(path)
        client.sendall(b"GET /_raindrops HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b""))


@served
def test_expose_beside_a_users_hooks(serve, gunicorn, kind, tmp_path):
    """Local readers get the status, proxies do not, and no status answer counts; a user's request
    hooks are called as often as without us."""
    kind.available(gunicorn)
    path = str(tmp_path / "app.sock")
    bind = ("127.0.0.1:0", f"unix:{path}")
    args = ["--workers", "1", *kind.args]
    env = {"RAINDROPS_EXPOSE": "on", "RAINDROPS_ALLOW": "127.0.0.1,unix"}
    with serve(*args, gunicorn=gunicorn, app=kind.app, env=env, bind=bind, conf=USERS) as server:
        server.ready(1)
        status, body = server.get("/_raindrops")
        assert (status, body.partition(b"\n")[0]) == (200, b"calling: 0")
        assert b"\r\n\r\ncalling: 0\n" in ask_unix(path)
        assert parsed(server.get("/_raindrops.json")[1])["requests"] == 0
        assert server.get("/_raindrops", method="POST")[0] == 405
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
            body = server.get("/_raindrops", headers={name: "127.0.0.1"})[1]
            assert not body.startswith(b"calling")
        eventually(lambda: server.settled()["requests"] == 3, "what the application answered")
        # also for the four that we answer
        calls = 7 if kind.name in ("gevent", "eventlet", "asgi") else 0
        eventually(lambda: server.log.count("mine: post_request") >= calls, "the last hook")
        server.kill()
    for hook in ("pre_request", "post_request"):
        assert server.log.count(f"mine: {hook}") == calls


@served
def test_expose_to_no_unix_peer(serve, gunicorn, kind, tmp_path):
    """Without `unix` in allow none is admitted, also not by a name that reads like an address."""
    kind.available(gunicorn)
    path = str(tmp_path / "app.sock")
    env = {"RAINDROPS_EXPOSE": "1", "RAINDROPS_ALLOW": "127.0.0.1,::1,0.0.0.0/0"}
    args = ["--workers", "1", *kind.args]
    bind = (f"unix:{path}",)
    with serve(*args, gunicorn=gunicorn, app=kind.app, env=env, bind=bind) as server:
        server.ready(1)
        for name in (None, "\0" + "127.0.0.1"):
            assert b"calling: " not in ask_unix(path, name)
        server.kill()


def test_a_class_that_is_not_known(serve, tmp_path):
    """It runs as without us, uncounted, and one warning says so."""
    (tmp_path / "others.py").write_text(
        "from gunicorn.workers.base import Worker\n"
        "class Strange(Worker):\n"
        "    def run(self):\n"
        "        import time\n"
        "        while self.alive:\n"
        "            self.notify()\n"
        "            time.sleep(0.1)\n"
    )
    args = ["--workers", "1", "--worker-class", "others.Strange", "--pythonpath", str(tmp_path)]
    with serve(*args) as server:
        server.logged(r"WARNING.*not counted with worker class others.Strange")
        eventually(server.workers, "a worker")
        assert len(server.warnings()) == 1
