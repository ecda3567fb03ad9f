"""The command `watch`, run as a process, and asked as its users ask."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from gunicorn_raindrops import TCPInfo
from gunicorn_raindrops.cli import serving

from ..bounds import WAIT
from ..conftest import settled
from ..listeners.listening import Lab, address, port

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="sock_diag is Linux's"),
]

AT_REST = 2
"""Threads of the command: the one that accepts, the one that samples."""
CLOSE_WAIT = 8  # net/tcp_states.h
PROGRAM = """
import signal, sys
from gunicorn_raindrops.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
sys.exit(main())
"""


TERMINATED_IN_A_REQUEST = """
import os
from gunicorn_raindrops.cli.serving import Server

Server.process_request = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
"""

SIGNALLED_AT_ITS_END = """
import atexit, os
from gunicorn_raindrops import Watcher

def come_again():
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)

close = Watcher.close
Watcher.close = lambda watcher: (come_again(), close(watcher))
atexit.register(come_again)
"""


def start(*arguments: str, first: str = "") -> subprocess.Popen[str]:
    program = PROGRAM.replace("signal.signal(", f"{first}signal.signal(", 1)
    return subprocess.Popen(
        [sys.executable, "-c", program, "watch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def run(*arguments: str) -> tuple[int, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=WAIT)
    assert out == ""
    return process.returncode, err


class Command:
    """The command while it serves; `end` stops it."""

    def __init__(self, *arguments: str, first: str = "") -> None:
        self._process = start(*arguments, first=first)
        self.pid = self._process.pid
        assert self._process.stderr is not None
        self.url = self._process.stderr.readline().rpartition(" ")[2].strip()

    def end(self, sig: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit status and what else was written to stderr."""
        self._process.send_signal(sig)
        _, err = self._process.communicate(timeout=WAIT)
        return self._process.returncode, err

    def wait(self) -> int:
        """Return its exit status, when it has ended by itself."""
        return self._process.wait(timeout=WAIT)

    def kill(self) -> None:
        """End it, if it runs still."""
        self._process.kill()
        self._process.communicate(timeout=WAIT)

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection."""
        kind, _, rest = self.url.partition(":")
        connection = http.client.HTTPConnection(rest.strip("/") if kind == "http" else "x")
        connection.timeout = 20
        if kind == "unix":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(WAIT)
            connection.sock.connect(rest)
        return connection

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Any:
        """Return status, headers and body."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(
                method, path, body, {name.replace("_", "-"): v for name, v in headers.items()}
            )
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read().decode()

    def threads(self) -> int:
        """Return how many threads it has."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("Threads:")[2].split()[0])


@contextlib.contextmanager
def watching(*arguments: str, first: str = "") -> Iterator[Command]:
    command = Command(*arguments, first=first)
    try:
        yield command
    finally:
        command.kill()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def test_over_tcp(lab: Lab) -> None:
    """Pages, figures, a tail while others ask, a reset; not for foreign pages or names. An idle
    tail ends with its client, and all with a SIGTERM."""
    listener = lab.listen()
    lab.connect("127.0.0.1", port(listener))
    name = address(listener)
    with watching("--listen", "127.0.0.1:0", "-d", "0.05", name, "@nobody") as command:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", command.url)
        status, headers, body = command.ask("/")
        assert (status, headers["Content-Type"]) == (200, "text/html")
        assert name in body and "@nobody" in body
        with contextlib.closing(command.connect()) as connection:
            connection.request("GET", f"/tail/{name}.txt?queued_min=1")
            response = connection.getresponse()
            with response:
                for _ in range(2):
                    line = response.readline().decode()
                    assert re.fullmatch(rf"\S{{20}} {name} +0 +1\n", line)
                assert command.ask(f"/queued/{name}.txt")[1]["X-Current"] == "1"
        with contextlib.closing(command.connect()) as connection:
            connection.request("GET", "/tail/@nobody.txt?active_min=1")
            connection.getresponse().close()
        assert settled(command.threads, AT_REST) == AT_REST
        resets(command, name)
        assert command.ask("/", Host="evil.example")[0] == 421
        assert command.end() == (0, "")


def test_terminated_in_a_request() -> None:
    """A SIGTERM ends it, also one that comes while a connection is handed to its thread."""
    with watching("--listen", "127.0.0.1:0", first=TERMINATED_IN_A_REQUEST) as command:
        with contextlib.closing(command.connect()) as connection:
            connection.request("GET", "/")
            assert command.wait() == 0


@pytest.mark.parametrize(("sig", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_while_it_ends(tmp_path: Path, sig: int, status: int) -> None:
    """The first one ends it, and those that come meanwhile break nothing off."""
    path = tmp_path / "watch.sock"
    with watching("--listen", f"unix:{path}", first=SIGNALLED_AT_ITS_END) as command:
        assert command.end(sig) == (status, "")
        assert not path.exists()


def resets(command: Command, name: str) -> None:
    path = f"/reset/{name}"
    assert command.ask(path, "POST", "x=x", Origin="http://evil.example")[0] == 403
    own = command.url.rstrip("/")
    referer = f"{own}/active/{name}.html"
    status, headers, _ = command.ask(path, "POST", "x=x", Origin=own, Referer=referer)
    assert (status, headers["Location"]) == (302, f"/active/{name.replace(':', '%3A')}.html")
    status, headers, _ = command.ask(headers["Location"])
    assert (status, headers["X-Max"]) == (200, "0")


def test_a_form_s_body_resets_no_connection() -> None:
    """The server closes only after its client, though nobody has read what that sends: a reset
    could have the answer thrown away."""
    form = b"POST /reset/@nobody HTTP/1.1\r\nContent-Length: 20001\r\n\r\n" + 20000 * b"x"
    with watching("--listen", "127.0.0.1:0", "-d", "0.05", "@nobody") as command:
        with contextlib.closing(command.connect()) as connection:
            connection.connect()
            client = connection.sock
            client.sendall(form)
            answer = b"".join(iter(lambda: client.recv(4096), b""))
            assert answer.startswith(b"HTTP/1.0 302") and answer.endswith(b"reset; see /\n")
            client.sendall(b"x")
            assert settled(lambda: TCPInfo(client).unacked, 0) == 0
            assert TCPInfo(client).state == CLOSE_WAIT


def test_over_a_unix_socket(lab: Lab, tmp_path: Path) -> None:
    """Every listener by default; the file is its user's alone and goes with it; Ctrl-C is 130."""
    path, name = tmp_path / "watch.sock", address(lab.listen())
    with watching("--listen", f"unix:{path}", "--delay", "3600") as command:
        assert command.url == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        _, headers, body = command.ask("/", Host="a.proxy.passes.its.own")
        assert name in body and str(path) in body
        sampled, due = (parsedate_to_datetime(headers[x]) for x in ("Last-Modified", "Expires"))
        assert (due - sampled).total_seconds() == 3600
        assert command.end(signal.SIGINT) == (130, "")
        assert not path.exists()


def test_an_address_that_is_taken(lab: Lab) -> None:
    """One line says so."""
    name = address(lab.listen())
    status, err = run("--listen", name)
    assert status == 1
    assert re.fullmatch(rf"gunicorn-raindrops: cannot listen on {name}: .*Address already.*\n", err)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--listen"),
        (["--listen", ""], "an address is needed"),
        (["--listen", "127.0.0.1"], "malformed"),
        (["--listen", ":0", "nonsense:port"], "malformed host"),
        (["--listen", "[::1]:0", "nonsense:port"], "malformed address"),
        (["--listen", "[::1]:0", "-d", "0"], "seconds above 0"),
    ],
)
def test_usage_errors(capsys: Any, arguments: list[str], named: str) -> None:
    """Exit with 2 and name what is wrong."""
    from gunicorn_raindrops.cli import main

    with pytest.raises(SystemExit) as raised:
        main(["watch", *arguments])
    assert raised.value.code == 2
    assert named in capsys.readouterr().err


def test_a_client_that_takes_nothing() -> None:
    """Is gone, to wsgiref, once its time is over."""
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(0.01)
        with pytest.raises(ConnectionAbortedError):
            serving._Writer(one).write(bytes(10**7))
