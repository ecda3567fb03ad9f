"""LastDataRecv on real servers: a wait in the accept queue shows, once, whoever is asked."""

import socket
import threading
import time

from gunicorn_raindrops.last_data_recv import PATH

from ..bounds import WAIT
from .classes import among
from .servers import connect, eventually

REQUEST = b"GET /pid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HELD = 0.3  # seconds


def ask(server):
    """Return what the headers say."""
    code, _, headers = server._ask(server.address, "GET", PATH, None, 20)
    assert code == 200
    return {name: int(value) for name, value in headers.items() if value.isdecimal()}


def received(sock):
    """Read a response to its end."""
    return b"".join(iter(lambda: sock.recv(4096), b""))


def test_a_wait_in_the_accept_queue(serve, gunicorn, gate):
    """What a request waited while the only worker was busy is the longest recorded, within what
    the test itself saw of it."""
    with serve("--workers", "1", gunicorn=gunicorn, app="waited:app") as server:
        server.ready(1)
        with gate.hold(server.address) as held, connect(server.address) as client:
            sending = time.monotonic()
            client.sendall(REQUEST)
            sent = time.monotonic()
            eventually(lambda: server.status()["listeners"][0]["queued"] == 1, "queued")
            threading.Event().wait(max(0.0, HELD - (time.monotonic() - sent)))
            least = (time.monotonic() - sent) * 1000
            held.release()
            received(client)
            most = (time.monotonic() - sending) * 1000
        found = ask(server)
        assert found["X-Count"] == 3
        assert least * 0.9 <= found["X-Max"] <= most * 1.1
        assert found["X-Min"] < found["X-Max"]


@among("gthread", "gevent", "gevent_pywsgi", "tornado")
def test_a_connection_counts_once(serve, gunicorn, kind):
    """Its later requests are not counted, whichever of many workers has it."""
    kind.available(gunicorn)
    args = ("--workers", "2", "--preload", *kind.args)
    with serve(*args, gunicorn=gunicorn, app="waited:app", tracebacks=None) as server:
        server.ready(2)
        before = ask(server)["X-Count"]
        for _ in range(3):
            with connect(server.address) as client:
                for _ in range(5):
                    client.sendall(b"GET /redirect HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert client.recv(4096).startswith(b"HTTP/1.1 302")
        expected = 0 if kind.name == "tornado" else before + 4  # it gives no socket
        assert ask(server)["X-Count"] == expected
        server.kill()


def test_a_unix_listener_counts_nothing(serve, tmp_path):
    """Its clients are answered as ever."""
    bind = ("127.0.0.1:0", f"unix:{tmp_path}/app.sock")
    with serve("--workers", "1", bind=bind, app="waited:app") as server:
        server.ready(1)
        before = ask(server)["X-Count"]
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(WAIT)
            client.connect(f"{tmp_path}/app.sock")
            client.sendall(REQUEST)
            assert received(client).startswith(b"HTTP/1.1 200")
        assert ask(server)["X-Count"] == before + 1


def test_an_application_that_raises(serve):
    """Gunicorn has its error, and its connection is recorded."""
    with serve("--workers", "1", app="waited:app", tracebacks=1) as server:
        server.ready(1)
        assert server.get("/boom")[0] == 500
        assert ask(server)["X-Count"] == 2
