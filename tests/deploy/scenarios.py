"""What goes wrong in a server, and which alerts that must bring: a table, a function a row."""

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..bounds import WAIT
from ..integration.load import Gate, Load
from ..integration.servers import Server, eventually

HERE = Path(__file__).parent
SCENARIOS = {}


@dataclass(frozen=True)
class Scenario:
    """Trouble for one server.

    Attributes:
        name: what it is called.
        act: makes the trouble; called with a Trouble.
        alerts: the alerts that it must bring, each with the reason; and no others.
        args: of gunicorn.
        app: the application: of the integration tests, or of troubled.py.
        env: variables.
    """

    name: str
    act: Callable
    alerts: dict[str, str]
    args: tuple[str, ...]
    app: str = "apps:app"
    env: dict[str, str] = field(default_factory=dict)

    def server(self, folder, bind="127.0.0.1:0"):
        """Return its server, to be started in `with`."""
        folder.mkdir(exist_ok=True)
        chdir = ("--chdir", str(HERE)) if self.app.startswith("troubled") else ()
        env = {"RAINDROPS_BIND": bind, "TROUBLED_LOCK": str(folder / "lock"), **self.env}
        args = ("--graceful-timeout", "2", *chdir, *self.args)
        return Server(folder, *args, app=self.app, env=env, tracebacks=None)


@dataclass
class Trouble:
    """What a scenario's function gets.

    Attributes:
        scenario: the row of the table.
        server: started.
        folder: of its files.
        over: set when the trouble is to end.
        fired: returns the alerts that this server has by now.
    """

    scenario: Scenario
    server: Server
    folder: Path
    over: threading.Event
    fired: Callable

    def load(self, path, clients):
        """Have so many clients ask for a path, each again as soon as it is answered."""
        with Load(self.server.address, rate=1000, clients=clients, paths=[path]):
            self.over.wait()


def scenario(*args, alerts, **kwargs):
    """Put a function into the table; `args` are gunicorn's."""

    def add(act):
        SCENARIOS[act.__name__] = Scenario(act.__name__, act, alerts, args, **kwargs)
        return act

    return add


@scenario("--workers", "2", alerts={})
def healthy(trouble):
    """One client, two workers."""
    trouble.load("/sleep?s=0.05", clients=1)


@scenario("--workers", "2", alerts={"Saturated": "five clients for two workers"})
def saturated(trouble):
    """The others are in the accept queue, each for a few tenths of a second."""
    trouble.load("/sleep?s=0.1", clients=5)


@scenario(
    *("--workers", "1", "--threads", "2"),
    alerts={
        "Waiting": "gthread accepts the four for which it has no thread",
        "Saturated": "six clients for two threads: who waits for a thread is demand as well",
    },
)
def waiting_inside_gthread(trouble):
    trouble.load("/sleep?s=0.1", clients=6)


@scenario(
    *("--workers", "1", "--worker-class", "asgi"),
    app="troubled:blocking",
    alerts={"Waiting": "their connections are kept alive, and their next requests lie unread"},
)
def waiting_for_a_blocked_loop(trouble):
    """Far from the capacity of 1,000."""
    clients = [http.client.HTTPConnection(*trouble.server.address, timeout=WAIT) for _ in range(8)]
    for client in clients:  # the first request of a connection is the one that has a queue time
        exchange(client, "/")
    threads = [threading.Thread(target=ask_on, args=(c, trouble.over)) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def exchange(client, path, headers=None):
    """Ask on a connection that stays."""
    client.request("GET", path, headers=headers or {})
    client.getresponse().read()


def ask_on(client, over):
    """Block the loop again and again."""
    with contextlib.closing(client):
        while not over.is_set():
            exchange(client, "/block")


@scenario(
    *("--workers", "4", "--backlog", "1"),
    alerts={"Dropping": "thirty clients at once, for four workers and a queue of one"},
)
def dropping(trouble):
    """A burst that is over soon: the mean saturation stays low."""
    load = Load(trouble.server.address, clients=1)
    load.at_once(30)


@scenario("--workers", "2", alerts={"StuckRequest": "it runs for more than 15 s"})
def stuck_request(trouble):
    """With gunicorn's own timeout of 30 s: the alert comes while the worker lives."""
    with contextlib.closing(Gate()) as gate:
        held = gate.hold(trouble.server.address)
        try:
            eventually(lambda: "StuckRequest" in trouble.fired(), "the alert", 40)
            assert held.pid in trouble.server.workers()
            assert trouble.server.status()["exits"]["timeout"] == 0
        finally:
            held.release()


@scenario("--workers", "2", alerts={"WorkerKilled": "one SIGKILL"})
def worker_killed(trouble):
    """As the out-of-memory killer does it."""
    os.kill(trouble.server.workers()[0], signal.SIGKILL)


@scenario("--workers", "2", "--timeout", "3", alerts={"WorkerKilled": "gunicorn's own timeout"})
def worker_timed_out(trouble):
    with contextlib.suppress(OSError, http.client.HTTPException):
        trouble.server.get("/sleep?s=60")


@scenario("--workers", "2", app="troubled:leaves", alerts={"CrashLoop": "ten workers leave"})
def workers_leave(trouble):
    """One after the other: meanwhile the other worker serves."""
    while trouble.server.told().get("exits", {}).get("failed", 0) < 10:
        with contextlib.suppress(OSError, http.client.HTTPException):
            trouble.server.get("/")
        trouble.over.wait(0.3)


@scenario(
    *("--workers", "2"),
    app="troubled:booted_once",
    env={"TROUBLED_BOOT": "end"},
    alerts={
        "CrashLoop": "the second worker ends in its import, again and again",
        "WorkersMissing": "so it never serves",
        "WorkerKilled": "it ends without a word, and gunicorn tells no hook by which status",
    },
)
def workers_do_not_boot(trouble):
    trouble.over.wait()


@scenario(
    *("--workers", "2", "--timeout", "600"),
    app="troubled:booted_once",
    env={"TROUBLED_BOOT": "hang"},
    alerts={"WorkersMissing": "the second worker hangs in its import"},
)
def worker_hangs_at_boot(trouble):
    trouble.over.wait()


@scenario("--workers", "1", alerts={"CrashLoop": "the whole server starts five times anew"})
def server_restarts(trouble):
    """At the same status address; the gaps are too short for NotAnswering."""
    host, port = trouble.server.status_address
    trouble.server.process.terminate()
    trouble.server.process.wait(WAIT)
    for turn in range(5):
        server = trouble.scenario.server(trouble.folder, f"{host}:{port}")
        with server:
            server.ready(1)
            if turn == 4:
                trouble.over.wait()
            trouble.over.wait(3)


@scenario(
    *("--workers", "2"),
    env={"RAINDROPS_QUEUE_HEADER": "on"},
    alerts={"QueueTime": "a proxy has had each request for two seconds"},
)
def a_proxy_queues(trouble):
    while not trouble.over.wait(0.5):
        since = {"X-Request-Start": f"t={time.time() - 2:.3f}"}
        assert trouble.server.get("/", headers=since)[0] == 200


@scenario("--workers", "1", alerts={"QueueTime": "two of three wait for a second or two"})
def the_kernel_queues(trouble):
    """One burst: the mean saturation stays low."""
    asking = [threading.Thread(target=trouble.server.get, args=("/sleep?s=1",)) for _ in range(3)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()


@scenario("--workers", "1", alerts={"NotAnswering": "nobody is there"})
def server_gone(trouble):
    trouble.server.kill()
