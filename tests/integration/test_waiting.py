"""Who waits inside of real servers, as the status tells it and as ss sees it."""

import contextlib
import shutil
import socket
import ssl
import subprocess

import pytest

from ..bounds import WAIT
from .servers import connect, eventually

GTHREAD = ("--workers", "1", "--worker-class", "gthread", "--threads")
LONG = b"GET /sleep?s=600 HTTP/1.1\r\nHost: x\r\n\r\n"
UPLOAD = b"POST /sleep?s=600 HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)


class Clients(contextlib.ExitStack):
    """Connections to one listener of a server, which is killed at the end.

    Args:
        server: the server.
        path: of its unix listener; without one, its first TCP listener.
    """

    def __init__(self, server, path=None):
        super().__init__()
        self._server, self._path = server, path
        self.callback(server.kill)

    def connect(self, number=1):
        """Return new connections."""
        return [self.enter_context(self._connection()) for _ in range(number)]

    def _connection(self):
        if self._path is None:
            return connect(self._server.address)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(WAIT)
        sock.connect(self._path)
        return sock

    def send(self, request, number=1):
        """Return new connections that have sent a request."""
        clients = self.connect(number)
        for client in clients:
            client.sendall(request)
        return clients

    def unread(self):
        """Return how many of the accepted connections ss shows with unread bytes."""
        if self._path is None:
            port = self._server.address[1]
            query = ["-Htne", "state", "established", f"( sport = :{port} )"]
        else:
            query = ["-Hxn", "state", "established", "src", self._path]
        lines = subprocess.check_output(["ss", *query], text=True).splitlines()
        accepted = [line for line in lines if "ino:0 " not in line]
        column = 0 if self._path is None else 1
        return sum(line.split()[column] != "0" for line in accepted)

    def are_told(self, waiting, unread=None, **others):
        """Wait until the status and ss agree that so many wait, and return the status.

        Args:
            waiting: how many wait.
            unread: how many connections have unread bytes, where that is another number.
            others: more of the status, or of its only listener.
        """

        def told():
            status = self._server.status()
            figures = status["listeners"][0] | status
            figures = {name: figures[name] for name in others}
            seen = self.unread() if shutil.which("ss") else None
            expected = waiting if unread is None else unread
            agrees = seen is None or seen == expected
            return agrees and (status["waiting"], figures) == (waiting, others) and status

        return eventually(
            told, lambda: f"{waiting} wait: {self._server.status()}, ss: {self.unread()}"
        )

    def answered(self, sock):
        """Read an answer to its end, and leave the connection as it is."""
        answer = b""
        while not answer.endswith(b"hello\n"):
            answer += sock.recv(4096)


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_behind_threads(serve, gunicorn, tmp_path, family):
    """gthread takes on more connections than it has threads. In every format they are seen, and
    who asks whether the server is ready hears that it is not."""
    path = str(tmp_path / "s") if family == "unix" else None
    bind = ("127.0.0.1:0",) if path is None else (f"unix:{path}",)
    env = {"RAINDROPS_READY": "/ready", "RAINDROPS_READY_ABOVE": "4.9"}
    with serve(*GTHREAD, "2", gunicorn=gunicorn, bind=bind, env=env, tracebacks=None) as server:
        server.ready(1)
        with Clients(server, path) as clients:
            clients.send(LONG, 2)
            clients.are_told(0, calling=2, saturation=1.0)
            clients.send(LONG, 8)
            idle = clients.connect(3)
            told = clients.are_told(8, calling=2, capacity=2, saturation=5.0, active=13, queued=0)
            assert told["listeners"][0]["waiting"] == 8
            assert told["marks"]["10s"]["waiting"] == 8
            text = server.text()
            assert list(text)[-1] == "waiting" and text["waiting"] == 8
            assert server.ask("/ready")[0] == 503
            if gunicorn == "current":
                assert b"\ngunicorn_requests_waiting 8.0\n" in server.ask("/metrics")[1]
            for one in idle:
                one.close()


def test_others_do_not_wait(serve):
    """Idle connections, uploads under way and requests that are sent too early wait for nobody,
    together or alone."""
    with serve(*GTHREAD, "51", "--keep-alive", "600", tracebacks=None) as server:
        server.ready(1)
        with Clients(server) as clients:
            for one in clients.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 100):
                clients.answered(one)
            clients.are_told(0, calling=0, saturation=0.0, active=100)
            (early,) = clients.send(LONG)
            clients.are_told(0, calling=1, active=101)
            early.sendall(LONG)
            clients.are_told(0, unread=1, calling=1)
            early.close()
            clients.send(UPLOAD, 50)
            told = clients.are_told(0, unread=50, calling=51, active=150, saturation=1.0)
            assert told["listeners"][0]["waiting"] == 0


def test_behind_tls(serve, tmp_path):
    """Who waits with TLS has said the first word of its handshake. Idle connections have read
    what the server had to say."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl, which makes the certificate")
    files = [str(tmp_path / "key"), str(tmp_path / "certificate")]
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout {} -out {}"
    subprocess.run(make.format(*files).split(), check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    args = ("--keyfile", files[0], "--certfile", files[1], "--keep-alive", "600")
    # it says https, where the helpers look for http
    with serve(*GTHREAD, "2", *args, tracebacks=None) as server:
        address = server.logged(r"Listening at: https://(.*):(\d+)")
        server.address = address[1], int(address[2])
        server.ready(1)
        with Clients(server) as clients:
            wrapped = []
            for _ in range(5):
                (plain,) = clients.connect()
                wrapped.append(one := clients.enter_context(tls.wrap_socket(plain)))
                one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                clients.answered(one)
            clients.are_told(0, calling=0)
            for one in wrapped[:2]:
                one.sendall(LONG)
            clients.are_told(0, calling=2, saturation=1.0)
            hello = ssl.MemoryBIO()
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.wrap_bio(ssl.MemoryBIO(), hello).do_handshake()
            clients.send(hello.read(), 3)
            wrapped[2].sendall(LONG)
            clients.are_told(4, calling=2, saturation=3.0)


def test_behind_a_blocked_loop(serve):
    """Whoever comes to a loop that is blocked waits inside or is queued; none is lost."""
    args = ("--workers", "1", "--worker-class", "asgi", "--keep-alive", "600")
    with serve(*args, app="asgi_apps:app", tracebacks=None) as server:
        server.ready(1)
        with Clients(server) as clients:
            inside = clients.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 9)
            for one in inside:
                clients.answered(one)
            clients.are_told(0, calling=0)
            clients.send(LONG.replace(b"sleep", b"block"))
            clients.are_told(0, calling=1)
            for one in inside[:5]:
                one.sendall(LONG)
            clients.send(LONG, 4)
            told = clients.are_told(5, calling=1, queued=4)
            assert told["saturation"] == (1 + 5 + 4) / told["capacity"]
