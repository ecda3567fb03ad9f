"""statsd on real servers: figures each second, from one worker at a time, whoever dies."""

import contextlib
import os
import re
import signal
import socket
import threading

import pytest

from ..bounds import WAIT
from .classes import among
from .servers import connect, eventually

OURS = re.compile(
    r"(.*)gunicorn\.(busy_workers|total_workers|requests\.in_flight|requests\.waiting|saturation"
    r"|listener\.queued.*):"
)


class Statsd:
    """A statsd that keeps what it got: pairs of a source and a dictionary, a pair a second."""

    def __init__(self, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(0.1)
        self.rounds = []
        self.strange = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def port(self):
        return self._socket.getsockname()[1]

    def _read(self):
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                line, source = self._socket.recvfrom(4096)
                self._keep(line.decode(), source)

    def _keep(self, line, source):
        """Keep one of ours; a round begins with busy_workers."""
        found = OURS.match(line)
        if found is None:
            return  # gunicorn's own
        name, _, rest = line.partition(":")
        value, _, kind = rest.partition("|")
        if found[2] == "busy_workers":
            self.rounds.append((source, {}))
        if not self.rounds or self.rounds[-1][0] != source or kind.partition("|")[0] != "g":
            self.strange.append((line, source))  # of two senders at once
            return
        self.rounds[-1][1][name + kind[1:]] = float(value)

    def more(self, number=2):
        """Wait for so many whole rounds that begin from now on; returns them."""
        begin = len(self.rounds)
        eventually(lambda: len(self.rounds) > begin + number, f"{number} rounds")
        return self.rounds[begin : begin + number]

    def says(self, **expected):
        """Wait for a round with these figures."""

        def said():
            figures = self.more(1)[0][1]
            return expected.items() <= {k.rpartition(".")[2]: v for k, v in figures.items()}.items()

        eventually(said, lambda: f"{expected} in {self.rounds[-3:]}")

    def close(self):
        self._over.set()
        self._thread.join(WAIT)
        self._socket.close()


@pytest.fixture
def statsd():
    with contextlib.closing(Statsd()) as one:
        yield one


def args(statsd, *others):
    return ("--statsd-host", f"127.0.0.1:{statsd.port}", *others)


def sources(rounds):
    return {source for source, _ in rounds}


def test_what_is_sent(serve, gunicorn, statsd, gate):
    """The figures are those of the status, from one worker, under the prefix."""
    given = args(statsd, "--statsd-prefix", "app", "--workers", "2")
    with serve(*given, gunicorn=gunicorn) as server, contextlib.ExitStack() as stack:
        server.ready(2)
        for _ in range(2):
            stack.enter_context(gate.hold(server.address))
        client = stack.enter_context(connect(server.address))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        backlog = "127_0_0_1_" + str(server.address[1])
        statsd.says(busy_workers=2, total_workers=2, in_flight=2, **{backlog: 1})
        rounds = statsd.more(2)
        status = server.status()
        assert len(sources(rounds)) == 1
        assert rounds[-1][1] == {
            "app.gunicorn.busy_workers": sum(w["state"] == "calling" for w in status["workers"]),
            "app.gunicorn.total_workers": len(status["workers"]),
            "app.gunicorn.requests.in_flight": status["calling"] + status["writing"],
            "app.gunicorn.requests.waiting": status["waiting"],
            "app.gunicorn.saturation": status["saturation"],
            f"app.gunicorn.listener.queued.{backlog}": status["listeners"][0]["queued"],
        }
        assert statsd.strange == []
        assert server.warnings() == []


def test_the_sender_is_killed(serve, gunicorn, statsd):
    """The other goes on, and then again one alone."""
    with serve(*args(statsd, "--workers", "2"), gunicorn=gunicorn) as server:
        workers = server.ready(2)["workers"]
        first = statsd.more()[0][0]
        os.kill(min(workers, key=lambda one: one["slot"])["pid"], signal.SIGKILL)
        eventually(lambda: statsd.rounds[-1][0] != first, "another sender")
        server.ready(2)
        statsd.says(busy_workers=0, total_workers=2, in_flight=0)
        eventually(lambda: len(sources(statsd.more(2))) == 1, "one sender")
        assert statsd.rounds[-1][0] != first


def test_two_generations(serve, statsd):
    """During an upgrade there is one sender, of the whole; then it goes on in the second."""
    with serve(*args(statsd, "--workers", "2")) as server:
        server.ready(2)
        server.upgrade(2)
        statsd.says(total_workers=4)
        assert len(sources(statsd.more(2))) == 1
        server.end(server.process.pid)
        statsd.says(total_workers=2)


@among("gevent", "eventlet", "asgi")
def test_worker_classes(serve, gunicorn, kind, statsd, gate):
    """A real thread sends, whatever is patched: also while the hub is blocked."""
    kind.available(gunicorn)
    given = args(statsd, "--workers", "1", *kind.args)
    with serve(*given, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
        server.ready(1)
        with gate.hold(server.address, "/hold-spinning"):
            statsd.says(busy_workers=1, total_workers=1, in_flight=1)
        statsd.says(busy_workers=0)
        assert server.warnings() == []
        server.kill()


def test_without_a_status_address(serve, statsd):
    """It needs none."""
    given = args(statsd, "--workers", "1")
    with serve(*given, env={"RAINDROPS_BIND": ""}) as server:
        server.logged("Booting worker")
        statsd.says(total_workers=1, busy_workers=0)


def test_tags(serve, statsd):
    """dogstatsd's tags are gunicorn's setting, too."""
    with serve(*args(statsd, "--dogstatsd-tags", "env:test")) as server:
        server.ready(1)
        figures = statsd.more()[1][1]
        assert figures["gunicorn.busy_workers|#env:test"] == 0
        assert figures[f"gunicorn.listener.queued|#env:test,listener:{server.name}"] == 0


def test_a_unix_socket(serve, tmp_path):
    """As gunicorn takes one."""
    path = str(tmp_path / "statsd.sock")
    with contextlib.closing(Statsd(socket.AF_UNIX, path)) as statsd:
        with serve("--statsd-host", f"unix://{path}") as server:
            server.ready(1)
            statsd.says(total_workers=1)


def test_nobody_listens(serve):
    """One warning, and the server serves."""
    with serve("--statsd-host", "127.0.0.1:9", tracebacks=None) as server:
        server.ready(1)
        server.logged("gunicorn-raindrops: statsd: 127.0.0.1:9")
        assert server.get("/")[0] == 200
        assert len(server.warnings()) == 1


@pytest.mark.parametrize("asked", [False, True])
def test_not_asked_for(serve, statsd, asked):
    """Without the setting nothing of it is there, not even the module."""
    conf = (
        "import sys\n"
        "from gunicorn_raindrops import hooks\n"
        "def post_request(worker, req, environ, resp):\n"
        "    worker.log.info('statsd: %s', 'gunicorn_raindrops.exporters.statsd' in sys.modules)\n"
        "hooks.install(globals())\n"
    )
    with serve(*(args(statsd) if asked else ()), conf=conf) as server:
        server.ready(1)
        assert server.get("/")[0] == 200
        assert server.logged("statsd: (True|False)")[1] == str(asked)
        if asked:
            statsd.says(total_workers=1)
        assert bool(statsd.rounds) == asked
