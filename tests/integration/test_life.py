"""Each turn of a server's life, under load: what was answered is what was counted.

Where gunicorn itself may lose a connection (a gthread worker that ends, a SIGKILL), what the
clients could not know is allowed for; see load.py. The gauges must be true everywhere.
"""

import contextlib
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ..bounds import WAIT
from ..ports import free_address, free_port
from ..processes import children, session
from .load import Gate, Load, exact
from .servers import Background, Server, connect, eventually, rewrite

INSTALL = "import gunicorn_raindrops\ngunicorn_raindrops.hooks.install(globals(){})\n"
# gunicorn heeds WINCH only when it is a daemon, and does not become one where it finds this
# variable, by which an arbiter hands its listeners on.
STAYS = {"GUNICORN_FD": ""}


def new_workers(server, workers):
    """Hang up, and wait for so many workers, all of them new."""
    return server.renewed(lambda: server.send(signal.SIGHUP), workers)


def test_reload(serve, gunicorn, worker_class):
    """HUP, twice."""
    with serve("--workers", "2", *worker_class, gunicorn=gunicorn) as server:
        reload_twice(server)


def test_preload(serve, gunicorn):
    """The application was made in the arbiter, before the scoreboard."""
    with serve("--workers", "2", "--preload", gunicorn=gunicorn) as server:
        reload_twice(server)


def reload_twice(server):
    """Hang up under load; what was answered is counted, by two workers in the end. No status
    answer was lost with a worker."""
    server.ready(2)
    reader, over = Background(), threading.Event()
    reader.add(read_on, server, over)
    with Load(server.address) as load:
        for _ in range(2):
            load.more(10)
            new_workers(server, 2)
        load.more(10)
    over.set()
    reader.join()
    status = exact(server, load)
    assert len(status["workers"]) == 2
    assert server.warnings() == []


def read_on(server, over):
    """Read the status again and again."""
    while not over.wait(0.001):
        server.text()


def test_hooks_come_and_go(serve, gunicorn, tmp_path):
    """They may first appear at a HUP, disappear at the next and come back: the application never
    notices, and the scoreboard goes on where it was."""
    ours = "from gunicorn_raindrops.hooks import *\n"
    with serve("--workers", "2", conf="", gunicorn=gunicorn) as server:
        with Load(server.address) as load:
            load.more(10)
            rewrite(tmp_path / "gunicorn.conf.py", ours)
            assert wanted(new_workers(server, 2)) == 2
            load.more(10)
        assert not load.broken
        before = server.settled()["requests"]
        assert 10 <= before < load.total
        with Load(server.address) as counted:
            counted.more(10)
            counted.pause()
            eventually(lambda: server.status()["requests"] == before + counted.total, "counted")
        rewrite(tmp_path / "gunicorn.conf.py", "")
        workers = set(server.workers())
        server.send(signal.SIGHUP)
        eventually(lambda: not workers & set(server.workers()), "workers without hooks")
        with Load(server.address) as uncounted:
            uncounted.more(10)
        rewrite(tmp_path / "gunicorn.conf.py", ours)
        status = new_workers(server, 2)
        assert (status["requests"], wanted(status)) == (before + counted.total, 2)
        assert (status["calling"], status["writing"]) == (0, 0)
        assert server.warnings() == []


def test_settings_change_at_a_reload(serve, gunicorn, tmp_path):
    """Each of them is taken over, and is what it was when it is removed from the conf again."""
    port, other = free_port(), ("127.0.0.1", free_port())
    env = {"RAINDROPS_BIND": f"127.0.0.1:{port}"}
    changed = INSTALL.format(
        f", bind='127.0.0.1:{other[1]}', path='/two', token='t', expose=True,"
        " listeners=['/run/nobody.sock']"
    )
    good = {"Authorization": "Bearer t"}
    with serve("--workers", "2", conf=INSTALL.format(""), env=env, gunicorn=gunicorn) as server:
        server.ready(2)
        with Load(server.address) as load:
            load.more(10)
            rewrite(tmp_path / "gunicorn.conf.py", changed)
            server.send(signal.SIGHUP)
            server.logged(f"status at http://127.0.0.1:{other[1]}/two")
            eventually(lambda: quietly(server.get, "/two", headers=good, address=other), "moved")
            old_ones_gone(load, lambda: load.ask("/two", good) == 200)
            assert load.ask("/two") == 401
            status, body = server.get("/two", headers=good, address=other)
            assert (status, b"/run/nobody.sock active: 0" in body) == (200, True)
            with pytest.raises(ConnectionRefusedError):
                server.text()
            load.more(10)
            rewrite(tmp_path / "gunicorn.conf.py", INSTALL.format(""))
            server.send(signal.SIGHUP)
            eventually(lambda: quietly(server.text), "moved back")
            old_ones_gone(load, lambda: load.ask("/two", good) == 404)
            assert load.ask("/_raindrops") == 404
            status = server.ready(2)
            assert [one["address"] for one in status["listeners"]] == [server.name]
            with pytest.raises(ConnectionRefusedError):
                connect(other)
        exact(server, load)
        assert not load.broken
        assert server.warnings() == []


def quietly(function, *args, **kwargs):
    """Return a function's result; None while nobody listens."""
    try:
        return function(*args, **kwargs)
    except ConnectionRefusedError:
        return None


def old_ones_gone(load, new):
    """Wait until workers with new settings answer, time and again."""
    row = []

    def twenty():
        row.append(new())
        return len(row) >= 20 and all(row[-20:])

    eventually(twenty, "new settings in all workers")


def test_upgrade_twice(serve, gunicorn, worker_class, tmp_path):
    """USR2: old, both and new generation count on one scoreboard, and so do their successors. The
    file stays theirs."""
    env = {"RAINDROPS_FILE": str(tmp_path / "board")}
    with serve("--workers", "2", *worker_class, env=env, gunicorn=gunicorn) as server:
        server.ready(2)
        with Load(server.address, rate=50) as load:
            for _ in range(2):
                load.more(15)
                old = server.pid
                new = server.upgrade(2)
                load.more(15)
                both = {worker["pid"] for worker in server.status()["workers"]}
                assert both == {*server.workers(), *children(new)} - {new}
                server.end(old)
            load.more(15)
        status = exact(server, load)
        assert {worker["pid"] for worker in status["workers"]} == set(server.workers())
        assert server.warnings() == []
        with serve("--workers", "1", env=env) as another:
            assert another.ready(1)["requests"] == 0
            (warning,) = another.warnings()
            assert "another server's" in warning


def test_an_arbiter_killed_in_an_upgrade_leaves_none_untracked(serve, gunicorn):
    """What it has counted goes with it; the workers without a slot are the new generation's."""
    env = {"RAINDROPS_MAX_WORKERS": "1"}
    with serve("--workers", "3", gunicorn=gunicorn, env=env) as server:
        eventually(lambda: server.status()["untracked"] == 2, "two untracked")
        eventually(lambda: len(server.workers()) == 3, "all forked")  # it is counted before that
        before = set(server.workers())
        server.send(signal.SIGUSR2)

        def second():
            found = [pid for pid in set(server.workers()) - before if len(children(pid)) == 3]
            return found and found[0]

        server.arbiters.append(eventually(second, "a second generation"))
        eventually(lambda: server.status()["untracked"] == 5, "those of both")
        server.end(server.process.pid, signal.SIGKILL)
        eventually(lambda: server.told().get("untracked") == 3, "those of the second")
        for pid in before:  # they see it when they next wake
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


QUIT_IN_A_REQUEST = 2
"""Tracebacks that two workers log at most: SIGQUIT ends each where it is, in a request perhaps."""


def test_upgrade_with_winch(serve, gunicorn):
    """As gunicorn's manual does it: USR2, WINCH to the old arbiter, and then QUIT."""
    args = ["--workers", "2", "--daemon"]
    with serve(*args, env=STAYS, gunicorn=gunicorn, tracebacks=QUIT_IN_A_REQUEST) as server:
        server.ready(2)
        with Load(server.address, rate=50) as load:
            load.more(10)
            server.upgrade(2)
            load.more(10)
            server.send(signal.SIGWINCH)
            server.ready(2)
            load.more(10)
            server.end(server.process.pid, signal.SIGQUIT)
            load.more(10)
        exact(server, load)
        assert server.warnings() == []


def wanted(status):
    """Return how many workers the arbiters want."""
    return status["arbiter"]["workers_wanted"]


@pytest.mark.parametrize(("gunicorn", "sig"), [("current", "QUIT"), ("23", "TERM")])
def test_upgrade_backed_out(serve, gunicorn, sig):
    """HUP brings the old arbiter's workers back, and then the new one ends. Each arbiter says how
    many workers it wants, as long as it lives."""
    args = ["--workers", "2", "--daemon"]
    with serve(*args, env=STAYS, gunicorn=gunicorn, tracebacks=QUIT_IN_A_REQUEST) as server:
        server.ready(2)
        with Load(server.address, rate=50) as load:
            load.more(10)
            new = server.upgrade(2)
            assert wanted(server.status()) == 4
            server.send(signal.SIGWINCH)
            assert wanted(server.ready(2)) == 2
            load.more(10)
            server.send(signal.SIGHUP)
            assert wanted(server.ready(4)) == 4
            load.more(10)
            server.end(new, getattr(signal, "SIG" + sig))
            assert wanted(server.ready(2)) == 2
            load.more(10)
        exact(server, load)
        assert server.warnings() == []


DEATHS = {
    "conf": ("raise ValueError('a bad conf')\n", "a bad conf"),
    "setting": (INSTALL.format(", bind='nonsense'"), "'nonsense' is not"),
    "boot": (
        "def post_fork(server, worker):\n    raise RuntimeError('no boot')\n" + INSTALL.format(""),
        "Worker failed to boot|Shutting down",
    ),
}


@pytest.mark.parametrize("conf", DEATHS)
def test_upgrade_that_dies(serve, gunicorn, tmp_path, conf):
    """The old generation goes on, and may be upgraded again."""
    env = {"RAINDROPS_FILE": str(tmp_path / "board")} if conf == "boot" else {}
    good, (bad, says) = INSTALL.format(""), DEATHS[conf]
    args = ["--workers", "2"]
    with serve(*args, conf=good, env=env, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(2)
        with Load(server.address, rate=50) as load:
            load.more(10)
            rewrite(tmp_path / "gunicorn.conf.py", bad)
            server.send(signal.SIGUSR2)
            server.logged(says)
            eventually(lambda: len(server.workers()) == 2, "its end")
            server.ready(2)
            load.more(10)
            if conf == "boot":
                rewrite(tmp_path / "gunicorn.conf.py", good)
                server.upgrade(2)
                server.end(server.process.pid)
                load.more(10)
        exact(server, load)
        assert server.warnings() == []


def test_fifty_workers_and_back(serve):
    """TTIN to 50, TTOU to 2."""
    with serve("--workers", "2", "--preload") as server:
        server.ready(2)
        with Load(server.address) as load:
            for sig, numbers in [
                (signal.SIGTTIN, range(3, 51)),
                (signal.SIGTTOU, range(49, 1, -1)),
            ]:
                for number in numbers:
                    server.send(sig)
                    eventually(lambda n=number: len(server.workers()) == n, f"{number} workers")
                status = server.ready(number)
                assert (status["capacity"], wanted(status)) == (number, number)
        exact(server, load)
        assert server.warnings() == []


def test_winch(serve, gunicorn):
    """A daemon without workers: who asks then waits for those that a HUP brings."""
    with serve("--workers", "2", "--daemon", env=STAYS, gunicorn=gunicorn) as server:
        server.ready(2)
        with Load(server.address) as load:
            load.more(10)
            server.send(signal.SIGWINCH)
            eventually(lambda: not server.workers(), "no workers")
            server.send(signal.SIGHUP)
            server.ready(2)
            load.more(10)
        exact(server, load)
        assert not load.broken


def test_max_requests(serve, gunicorn, worker_class):
    """Workers that live for a few requests each."""
    args = ["--workers", "3", "--max-requests", "4", "--max-requests-jitter", "2", *worker_class]
    with serve(*args, gunicorn=gunicorn) as server:
        server.ready(3)
        first = {worker["pid"] for worker in server.status()["workers"]}
        with Load(server.address) as load:
            load.more(80)
        status = exact(server, load)
        assert not first & {worker["pid"] for worker in status["workers"]}
        assert server.warnings() == []


def test_code_reload(serve, tmp_path):
    """--reload: a worker that sees its application change ends, and its successor counts on."""
    module = tmp_path / "reloaded.py"
    rewrite(module, "from apps import app\n")
    args = ["--workers", "1", "--reload", "--reload-engine", "poll", "--pythonpath", str(tmp_path)]
    with serve(*args, app="reloaded:app") as server:
        server.ready(1)
        with Load(server.address, clients=2) as load:
            for number in range(2):
                load.more(10)
                change = f"from apps import app\nnumber = {number}\n"
                server.renewed(lambda text=change: rewrite(module, text), 1)
            load.more(10)
        exact(server, load)
        assert server.warnings() == []


class Daemon(Server):
    """A server that detaches itself: its pid stands in a file, and so does its log."""

    def __init__(self, tmp_path, *args, **kwargs):
        self._pidfile, self._logfile = tmp_path / "pid", tmp_path / "log"
        args = [*args, "--daemon", "--pid", str(self._pidfile), "--log-file", str(self._logfile)]
        super().__init__(tmp_path, *args, **kwargs)

    def __enter__(self):
        subprocess.run(self.command, env=self.env, timeout=WAIT, check=True)
        eventually(lambda: self._pidfile.exists() and self._pidfile.read_text(), "a pid")
        self.pid = int(self._pidfile.read_text())
        self._session = os.getsid(self.pid)
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGTERM)
        eventually(lambda: not session(self._session), "its end")

    def logged(self, pattern, seconds=WAIT):
        """See Server."""
        return eventually(lambda: re.search(pattern, self._logfile.read_text(), re.M), pattern)

    def warnings(self):
        """See Server."""
        return re.findall(r".*\[WARNING\] gunicorn-raindrops.*", self._logfile.read_text())


def test_daemon(tmp_path, gunicorn):
    """The scoreboard is made after the arbiter has detached itself."""
    with Daemon(tmp_path, "--workers", "2", gunicorn=gunicorn) as server:
        server.ready(2)
        with Load(server.address) as load:
            load.more(10)
            new_workers(server, 2)
            load.more(10)
        status = exact(server, load)
        assert status["arbiter"]["pid"] == server.pid
        assert server.warnings() == []
        assert "Traceback" not in (tmp_path / "log").read_text()


def test_reuse_port(serve, gunicorn):
    """Each worker may have a listener of its own (so gunicorn from 24 on): the queues add up. A
    worker that ends takes what waits in its own with it."""
    port = free_port()
    args = ["--workers", "3", "--reuse-port"]
    with serve(*args, bind=(f"127.0.0.1:{port}",), gunicorn=gunicorn) as server:
        server.address = ("127.0.0.1", port)
        status = server.ready(3)
        assert [one["address"] for one in status["listeners"]] == [server.name]
        assert status["listeners"][0]["backlog"] in (2048, 3 * 2048)
        with Load(server.address) as load:
            load.more(30)
            new_workers(server, 3)
            load.more(10)
        exact(server, load)
        assert server.warnings() == []


ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_socket_activation(serve, gunicorn):
    """systemd's way: the listener is there before the server, as descriptor 3."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        launcher = [sys.executable, "-c", ACTIVATE, str(listener.fileno())]
        server = serve("--workers", "2", bind=(), launcher=launcher, gunicorn=gunicorn)
        server.pass_fds = (listener.fileno(),)
        with server:
            assert server.address == listener.getsockname()
            server.ready(2)
            with Load(server.address, rate=50) as load:
                load.more(10)
                new_workers(server, 2)
                load.more(10)
            exact(server, load)
            assert server.warnings() == []


def test_workers_that_fail_to_boot(serve, gunicorn, tmp_path):
    """gunicorn gives up; nothing of ours adds to what it says, and the next server counts on."""
    env = {"RAINDROPS_FILE": str(tmp_path / "board")}
    bad, _ = DEATHS["boot"]
    with serve("--workers", "2", conf=bad, env=env, gunicorn=gunicorn, tracebacks=None) as server:
        assert server.process.wait(WAIT) != 0
        assert server.warnings() == []
    good = INSTALL.format("")
    with serve("--workers", "2", conf=good, env=env, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(2)
        with Load(server.address) as load:
            load.more(10)
            load.pause()
            rewrite(tmp_path / "gunicorn.conf.py", bad)
            server.send(signal.SIGHUP)  # it ends by this, whatever we do
            assert server.process.wait(WAIT) != 0
            assert server.warnings() == []
    rewrite(tmp_path / "gunicorn.conf.py", good)
    with serve("--workers", "2", conf=good, env=env, gunicorn=gunicorn) as server:
        assert server.ready(2)["requests"] == load.total


def test_arbiter_killed(serve, gunicorn, tmp_path):
    """The next one on the same file and addresses, while orphans still serve, goes on with all of
    it; what the orphans answer is counted as well."""
    bind = (free_address(),)
    env = {
        "RAINDROPS_FILE": str(tmp_path / "board"),
        "RAINDROPS_BIND": free_address(),
    }
    # orphans look for their arbiter twice in a timeout
    args = ["--workers", "2", "--timeout", "1"]
    with serve(*args, env=env, bind=bind, gunicorn=gunicorn) as first:
        first.ready(2)
        with Load(first.address, rate=50) as load:
            load.more(10)
            first.send(signal.SIGKILL)
            first.process.wait(WAIT)
            with serve(*args, env=env, bind=bind, gunicorn=gunicorn) as second:
                second.ready(2)
                load.more(10)
                exact(second, load)
                assert second.warnings() == []
                eventually(lambda: not session(first.pid), "the orphans gone")


def test_orphan(serve, gunicorn, tmp_path):
    """A request that a dead arbiter's worker has stays in the gauges until it ends. The status
    address was given up at once, by this worker as well."""
    env = {
        "RAINDROPS_FILE": str(tmp_path / "board"),
        "RAINDROPS_BIND": free_address(),
    }
    with contextlib.closing(Gate()) as gate, serve("--workers", "2", env=env) as first:
        first.ready(2)
        held = gate.hold(first.address)
        first.send(signal.SIGKILL)
        first.process.wait(WAIT)
        with serve("--workers", "2", env=env, gunicorn=gunicorn) as second:
            status = eventually(
                lambda: (s := second.status())["calling"] == 1 and len(s["workers"]) >= 3 and s,
                "its own two workers, and the orphan",
            )
            assert held.pid in {one["pid"] for one in status["workers"] if one["calling"]}
            assert held.release()
            eventually(lambda: second.status()["calling"] == 0, "released")
            with Load(second.address) as load:
                load.more(10)
            eventually(lambda: second.status()["requests"] == 1 + load.total, "all counted")
            assert second.warnings() == []
            os.killpg(first.pid, signal.SIGKILL)
            eventually(lambda: len(second.status()["workers"]) == 2, "the orphans gone")


def test_dropped_privileges(serve, tmp_path):
    """The arbiter is root, the workers are nobody: they count, answer the status, and see each
    other's processes; the arbiter frees their slots."""
    if os.getuid() != 0:
        pytest.skip("only root can drop privileges")
    env = {"RAINDROPS_FILE": str(tmp_path / "board")}
    # preloaded, for nobody may be unable to read our Python
    args = ["--workers", "2", "--preload", "--user", "nobody", "--group", "nogroup"]
    with serve(*args, env=env) as server:
        server.ready(2)
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in server.workers()} == {
            pwd.getpwnam("nobody").pw_uid
        }
        with Load(server.address) as load:
            load.more(20)
            new_workers(server, 2)
            load.more(10)
            load.pause()
            killed = server.workers()[0]
            os.kill(killed, signal.SIGKILL)
            eventually(lambda: killed not in server.workers(), "reaped")
            server.ready(2)
            server.upgrade(2)
            server.end(server.process.pid)
            load.go_on()
            load.more(10)
        exact(server, load)
        assert server.warnings() == []


def test_what_an_upgrade_does_not_change(serve, gunicorn, tmp_path):
    """The scoreboard that both generations share has the size and the file it has."""
    conf = INSTALL.format(", max_workers={}, file={!r}")
    before = conf.format(8, str(tmp_path / "one"))
    with serve("--workers", "1", conf=before, gunicorn=gunicorn) as server:
        server.ready(1)
        rewrite(tmp_path / "gunicorn.conf.py", conf.format(9, str(tmp_path / "two")))
        server.upgrade(1)
        said = sorted(line.partition("raindrops: ")[2].split()[0] for line in server.warnings())
        assert said == ["file", "max_workers"]
        assert len(server.status()["scoreboard"]) == 8
        server.send(signal.SIGHUP)
        eventually(lambda: len(server.warnings()) == 4, "the same at a HUP")
        assert not (tmp_path / "two").exists()
