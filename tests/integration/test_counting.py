"""What the counts mean, on real servers: phases, classes, saturation, forks, sendfile."""

import contextlib
import http.client
import os
import signal

import pytest

from ..bounds import WAIT
from ..processes import alive
from .classes import HOLDING, IDS, PAIRS, among, each
from .servers import Server, connect, eventually


@pytest.fixture(scope="module", params=PAIRS, ids=IDS)
def shared(request, tmp_path_factory):
    """One worker with one thread, so that who runs what is plain, for many tests in turn."""
    gunicorn, kind = request.param
    kind.available(gunicorn)
    args = ("--workers", "1", *kind.args)
    tmp_path = tmp_path_factory.mktemp("shared")
    with Server(tmp_path, *args, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
        server.kind = kind
        server.ready(1)
        yield server
        server.kill()


class Since:
    """What a server has counted since this was made."""

    def __init__(self, server):
        self.server = server
        self.before = server.settled()

    def requests(self, number):
        """Wait for so many requests; returns their counts that are not 0."""

        def counted():
            after = self.server.settled()
            return after["requests"] - self.before["requests"] >= number and after

        after = eventually(counted, f"{number} requests counted")
        counts = {"requests": after["requests"] - self.before["requests"]}
        counts["errors"] = after["errors"] - self.before["errors"]
        for name, value in after["responses"].items():
            counts[name] = value - self.before["responses"][name]
        return {name: value for name, value in counts.items() if value}


def test_a_slow_application_is_calling(shared, gate):
    """While the application's callable runs, its request is calling."""
    since = Since(shared)
    held = gate.hold(shared.address)
    seen = shared.status()
    assert (seen["calling"], seen["writing"]) == (1, 0)
    assert seen["requests"] == since.before["requests"]
    assert seen["workers"][0]["state"] == "calling"
    assert seen["scoreboard"][0] == "C"
    assert seen["utilization"] == 1 / seen["capacity"]
    assert held.release()
    assert since.requests(1) == {"requests": 1, "2xx": 1}
    after = eventually(lambda: (s := shared.status())["scoreboard"][0] == "_" and s, "idle")
    # only a worker whose connections hold threads can tell
    assert after["reading"] == (0 if shared.kind.name in HOLDING else None)


def is_writing(shared, since):
    """Wait until a response is under way, and no request but that."""
    seen = eventually(lambda: (s := shared.status())["writing"] and s, "writing")
    assert (seen["calling"], seen["writing"]) == (0, 1)
    assert seen["requests"] == since.before["requests"]
    assert seen["scoreboard"][0] == "W"


def test_a_streamed_response_under_way_is_writing(shared, gate):
    """Until its client has it."""
    since = Since(shared)
    held = gate.hold(shared.address, "/hold-writing")
    is_writing(shared, since)
    assert held.release()
    assert since.requests(1) == {"requests": 1, "2xx": 1}


@pytest.mark.parametrize("path", ["/big?size=50000000", "/file?size=50000000"])
def test_a_large_response_under_way_is_writing(shared, path):
    """So is a large one, and a file, which the server sends as its client takes it."""
    if path in shared.kind.unwritten:
        pytest.skip("this server takes it as a whole")
    since = Since(shared)
    with connect(shared.address) as client:
        client.sendall(b"GET %s HTTP/1.0\r\nHost: x\r\n\r\n" % path.encode())
        is_writing(shared, since)
        while client.recv(1 << 20):
            pass
    assert since.requests(1) == {"requests": 1, "2xx": 1}


@among("sync", "gthread", "gevent", "eventlet")
def test_a_file_is_still_sent_by_the_kernel(serve, gunicorn, kind):
    """The file wrapper reaches gunicorn as it is, so sendfile(2) happens."""
    kind.available(gunicorn)
    conf = """
import sys, gunicorn.http.wsgi as wsgi
real = wsgi.Response.sendfile
def watched(self, respiter):
    done = real(self, respiter)
    sys.stderr.write(f"sent a file: {type(respiter).__name__} {done}\\n")
    return done
wsgi.Response.sendfile = watched
from gunicorn_raindrops.hooks import *
"""
    with serve("--workers", "1", *kind.args, gunicorn=gunicorn, conf=conf) as server:
        server.ready(1)
        assert server.get("/file")[0] == 200
        assert server.logged("sent a file: FileWrapper True")


@pytest.mark.parametrize(
    ("path", "status", "counts"),
    [
        ("/", 200, {"2xx": 1}),
        ("/redirect", 302, {"3xx": 1}),
        ("/nowhere", 404, {"4xx": 1}),
        ("/unavailable", 503, {"5xx": 1}),
        ("/boom", 500, {"5xx": 1, "errors": 1}),
        ("/boom-first", 500, {"5xx": 1, "errors": 1}),
    ],
)
def test_each_response_counts_by_the_class_its_client_saw(shared, path, status, counts):
    """An application that raises before its first byte has sent a 500, whatever it had set."""
    if path in shared.kind.unseen:
        pytest.skip("this server tells the client nothing")
    if path == "/boom-first" and shared.kind.is_asgi:
        status, counts = 200, {"2xx": 1, "errors": 1}  # the head is sent as it is given
    since = Since(shared)
    with connect(shared.address) as client:
        client.sendall(b"GET %s HTTP/1.0\r\nHost: x\r\n\r\n" % path.encode())
        assert int(client.recv(12)[9:]) == status
    assert since.requests(1) == {"requests": 1, **counts}


def test_an_application_that_raises_midway_is_an_error_of_the_status_it_had_sent(shared):
    """The client saw 200 and then a broken body."""
    if "/boom-mid" in shared.kind.unseen:
        pytest.skip("this server tells the client nothing")
    since = Since(shared)
    with connect(shared.address) as client:
        client.sendall(b"GET /boom-mid HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(1000), b""))
    assert answer.partition(b" ")[2].startswith(b"200 OK")
    assert since.requests(1) == {"requests": 1, "2xx": 1, "errors": 1}


def test_a_client_that_goes_away_is_counted_and_no_error(shared):
    """Its request reached the application; that it left is not the application's fault."""
    since = Since(shared)
    with connect(shared.address) as client:
        client.sendall(b"GET /stream?n=25&s=0.02&size=100000 HTTP/1.0\r\n\r\n")
        client.recv(100)
    assert since.requests(1) == {"requests": 1, "2xx": 1}


def test_a_request_that_never_reaches_the_application_is_not_counted(shared):
    """gunicorn answers 400 by itself; asgi just hangs up, before 25."""
    since = Since(shared)
    with connect(shared.address) as client:
        client.sendall(b"RUBBISH\r\n\r\n")
        assert client.recv(100)[9:12] in (b"400", b"")
    assert shared.get("/")[0] == 200
    assert since.requests(1) == {"requests": 1, "2xx": 1}


def test_a_child_of_the_application_ends_nothing(serve, gunicorn):
    """A forked child that leaves through the server's stack runs post_request once more."""
    with serve("--workers", "1", gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(1)
        since = Since(server)
        server.get("/fork")
        assert since.requests(1)["requests"] == 1
        assert server.get("/")[0] == 200
        assert since.requests(2)["requests"] == 2


def test_keepalive_counts_each_request(shared):
    """Three requests on one connection are three, and none is in flight between them."""
    since = Since(shared)
    client = http.client.HTTPConnection(*shared.address, timeout=WAIT)
    with contextlib.closing(client):
        for done in range(1, 4):
            client.request("GET", "/")
            assert client.getresponse().read() == b"hello\n"
            assert since.requests(done) == {"requests": done, "2xx": done}


@each
def test_saturated(serve, gunicorn, kind):
    """Workers that sleep in as many requests as they can run, and ten more clients: so many run,
    the others wait, again and again, and the answer does not."""
    kind.available(gunicorn)
    # of two workers, one would take what the other could run
    workers = 1 if kind.keeps == "takes" else 4 // kind.at_once
    capacity = workers * kind.at_once
    args = ["--workers", str(workers), *kind.args, *kind.room]
    clients = []

    def client(path):
        clients.append(connect(server.address))
        clients[-1].sendall(b"GET %s HTTP/1.0\r\nHost: x\r\n\r\n" % path)

    with serve(*args, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
        server.ready(workers)
        try:
            for number in range(1, capacity + 1):
                client(b"/sleep?s=600")
                eventually(lambda n=number: server.text()["calling"] == n, f"{number} run")
            for _ in range(10):
                client(b"/sleep?s=600")
            run = capacity + (10 if kind.keeps == "runs" else 0)
            queued = {"waits": 10, "runs": 0, "takes": None}[kind.keeps]

            def is_full(text):
                now = text["calling"], text["writing"], text[f"{server.name} queued"]
                return now == (run, 0, now[2] if queued is None else queued)

            eventually(lambda: is_full(server.text()), "all there")
            # no request ends meanwhile: an answer that waits for one never comes
            for _ in range(50):
                assert is_full(server.text())
            status = server.status()
            assert (status["capacity"], status["utilization"]) == (capacity, run / capacity)
            if queued is not None:
                accepted = f"{server.name} active"
                # counted at most a tenth of a second ago
                eventually(lambda: server.text()[accepted] == run, "so many accepted")
                assert status["saturation"] == (capacity + 10) / capacity
        finally:
            server.kill()
            for one in clients:
                one.close()


@among()
def test_a_worker_that_finishes_gracefully_shows_it(serve, gunicorn, kind, gate):
    """After SIGTERM a worker ends the request that it has."""
    kind.available(gunicorn)
    with serve("--workers", "1", *kind.args, gunicorn=gunicorn, app=kind.app) as server:
        (before,) = server.ready(1)["workers"]
        held = gate.hold(server.address)
        os.kill(before["pid"], signal.SIGTERM)

        def finishing():
            status = server.status()
            mine = [w for w in status["workers"] if w["pid"] == before["pid"]]
            return mine and mine[0]["state"] == "finishing" and status

        seen = eventually(finishing, "finishing")
        assert seen["scoreboard"][before["slot"]] == "G"
        assert seen["calling"] == 1
        assert held.release()
        eventually(lambda: not alive(before["pid"]), "gone")
        assert server.ready(1)["requests"] == 1


def test_a_busy_worker_does_not_keep_the_status_from_answering(shared, gate):
    """A worker in a pure-Python loop, which blocks its hub or loop, gives the interpreter away
    often enough."""
    with gate.hold(shared.address, "/hold-spinning"):
        for _ in range(5):
            assert shared.text()["calling"] == 1


def test_prometheus(serve):
    """A scrape has the whole server's figures."""
    with serve("--workers", "2") as server:
        server.ready(2)
        for _ in range(5):
            assert server.get("/")[0] == 200
        eventually(lambda: server.settled()["requests"] == 5, "all counted")
        eventually(lambda: server.status()["reading"] == 0, "all closed")
        for path in ("/metrics", "/_raindrops.prom"):
            code, body, headers = server.ask(path)
            assert (code, headers["Content-Type"][:10]) == (200, "text/plain")
            assert b"\ngunicorn_requests_total 5.0\n" in body
            assert b"\ngunicorn_requests_reading 0.0\n" in body
            assert b'\ngunicorn_workers{state="idle"} 2.0\n' in body
