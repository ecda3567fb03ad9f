"""Harmless: whatever of ours fails, the application serves on, with one warning."""

import os
import platform
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ..bounds import LONG, WAIT
from ..ports import free_address, free_port
from ..schema import parsed
from . import without_netlink
from .servers import APPS, eventually, rewrite


def one_warning(server, *words):
    """Check that there is exactly one warning of ours, and that it says these words."""
    eventually(server.warnings, "a warning")
    (warning,) = server.warnings()
    for word in words:
        assert word in warning


def test_status_port_taken(serve, gunicorn):
    """There is no status then; the application serves."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with serve("--workers", "2", gunicorn=gunicorn, env={"RAINDROPS_BIND": bind}) as server:
            assert server.get("/") == (200, b"hello\n")
            one_warning(server, "bind", bind, "in use")


NO_THREAD = """
import gunicorn_raindrops
from gunicorn_raindrops import unpatched

def refuse(*_):
    raise RuntimeError("can't start new thread")

original = unpatched.original
unpatched.original = lambda *named: refuse if named[1] == "start_new_thread" else original(*named)
gunicorn_raindrops.hooks.install(globals(), expose=True, allow=["127.0.0.1"])
"""


@pytest.mark.parametrize("worker_class", ["sync", "gthread"])
def test_no_thread_to_be_had(serve, gunicorn, worker_class):
    """That worker answers on the status address between its requests, and a warning says so; it
    counts and is exposed as ever."""
    args = ("--workers", "1", "--worker-class", worker_class)
    with serve(*args, gunicorn=gunicorn, conf=NO_THREAD) as server:
        assert server.get("/") == (200, b"hello\n")
        one_warning(server, "status thread", "can't start new thread")
        status = parsed(server.get("/_raindrops.json")[1])
        assert (status["requests"], status["capacity"]) == (1, 1)
        assert [worker["state"] for worker in status["workers"]] == ["idle"]
        for _ in range(3):
            assert server.ask(timeout=WAIT)[0] == 200


def test_status_port_that_gets_free(serve, gunicorn):
    """It is taken then, for all workers, without a HUP."""
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        env = {"RAINDROPS_BIND": bind}
        with serve("--workers", "2", gunicorn=gunicorn, env=env) as server:
            server.logged("bind: .* in use")
            assert server.get("/") == (200, b"hello\n")
            taken.close()
            server.ready(2)
            server.logged(f"bind: {bind} is free now; status at http://{bind}/")
            os.kill(server.workers()[0], signal.SIGKILL)
            server.ready(2)


@pytest.mark.parametrize("make", ["missing/file", "directory", "foreign", "damaged", "version"])
def test_file_that_cannot_be_used(serve, gunicorn, tmp_path, make):
    """It is left as it is, and the counts are kept in memory."""
    path, content = tmp_path / make, None
    if make == "directory":
        path.mkdir()
    elif make != "missing/file":
        content = {
            "foreign": b"somebody's precious data, not a scoreboard at all" * 1000,
            "damaged": b"raindrop" + bytes([1, 0, 0, 0]) + bytes(20),
            "version": b"raindrop" + bytes([99, 0, 0, 0]) + bytes(20000),
        }[make]
        path.write_bytes(content)
    env = {"RAINDROPS_FILE": str(path)}
    with serve("--workers", "2", gunicorn=gunicorn, env=env) as server:
        server.ready(2)
        assert server.get("/") == (200, b"hello\n")
        one_warning(server, "file", str(path), "memory")
        eventually(lambda: server.status()["requests"] == 1, "counted all the same")
    if content is not None:
        assert path.read_bytes() == content


def test_two_servers_on_one_file(serve, tmp_path):
    """The second says so and counts in memory; the first goes on undisturbed."""
    env = {"RAINDROPS_FILE": str(tmp_path / "board")}
    with serve("--workers", "1", env=env) as first:
        first.ready(1)
        with serve("--workers", "1", env=env) as second:
            second.ready(1)
            first.get("/")
            eventually(lambda: first.status()["requests"] == 1, "counted")
            assert second.status()["requests"] == 0
            one_warning(second, "file", "another server")
        assert first.warnings() == []


def test_totals_outlive_the_server_in_a_file(serve, tmp_path):
    """A new server goes on where the last one, killed with requests in flight, stopped."""
    env = {"RAINDROPS_FILE": str(tmp_path / "board")}
    with serve("--workers", "2", env=env) as server:
        server.ready(2)
        for _ in range(5):
            server.get("/")
        eventually(lambda: server.status()["requests"] == 5, "counted")
        os.killpg(server.pid, signal.SIGKILL)
        server.process.wait(WAIT)
    with serve("--workers", "2", env=env) as server:
        status = server.ready(2)
        assert (status["requests"], status["calling"], status["writing"]) == (5, 0, 0)
        assert [worker["requests"] for worker in status["workers"]] == [0, 0]


@pytest.mark.skipif(
    platform.machine() not in without_netlink.SYS_SOCKET,
    reason="socket(2) has another number",
)
def test_no_netlink(serve, gunicorn):
    """Own TCP listeners are read from their descriptors; what is not known is null, and no line."""
    launcher = [sys.executable, str(APPS / "without_netlink.py")]
    with serve("--workers", "2", gunicorn=gunicorn, launcher=launcher) as server:
        status = server.ready(2)
        assert server.get("/") == (200, b"hello\n")
        (listener,) = status["listeners"]
        assert (listener["active"], listener["queued"], listener["dropped"]) == (None, 0, 0)
        assert (listener["waiting"], status["waiting"], status["saturation"]) == (None, None, 0)
        assert listener["backlog"] > 0
        assert list(server.text()) == ["calling", "writing", f"{server.name} queued"]
        one_warning(server, "listeners")


def test_the_applications_own_port_as_the_status_address(serve, gunicorn):
    """It is the application's, and the status has none."""
    address = free_address()
    env = {"RAINDROPS_BIND": address}
    with serve("--workers", "1", bind=[address], gunicorn=gunicorn, env=env) as server:
        server.logged("Listening at")
        assert eventually(lambda: server.get("/"), "served") == (200, b"hello\n")
        one_warning(server, "bind", address)


def test_as_many_slots_as_workers(serve, gunicorn):
    """At a HUP old and new workers are there at once: the new ones get the old ones' slots."""
    env = {"RAINDROPS_MAX_WORKERS": "2"}
    with serve("--workers", "2", gunicorn=gunicorn, env=env) as server:
        server.ready(2)
        for number in (1, 2):
            before = {worker["pid"] for worker in server.status()["workers"]}
            os.kill(server.pid, signal.SIGHUP)
            eventually(lambda old=before: not old & set(server.workers()), "all workers new")

            def seated():
                status = server.status()
                pids = {worker["pid"] for worker in status["workers"] if worker["state"] == "idle"}
                return pids == set(server.workers()) and status

            status = eventually(seated, "new workers in the old ones' slots")
            assert (status["untracked"], status["capacity"]) == (0, 2)
            for _ in range(5):
                server.get("/")
            eventually(lambda want=number * 5: server.status()["requests"] == want, "counted")
        assert len(server.warnings()) == 2, server.warnings()  # one for each HUP


def test_more_workers_than_slots(serve, gunicorn):
    """Those beyond serve as ever and are counted as untracked; a slot that gets free is used."""
    env = {"RAINDROPS_MAX_WORKERS": "2"}
    with serve("--workers", "4", gunicorn=gunicorn, env=env) as server:
        eventually(lambda: len(server.workers()) == 4, "four workers")
        status = server.ready(2)
        assert eventually(lambda: server.status()["untracked"] == 2, "two untracked")
        assert len(status["scoreboard"]) == 2
        pids = {server.get("/pid")[1] for _ in range(300)}
        assert len(pids) > 2
        one_warning(server, "max_workers", "2")
        untracked = set(server.workers()) - {worker["pid"] for worker in status["workers"]}
        for pid in untracked:
            os.kill(pid, signal.SIGTERM)
        eventually(lambda: not untracked & set(server.workers()), "the untracked gone")
        eventually(lambda: len(server.workers()) == 4, "four again")
        eventually(lambda: server.status()["untracked"] == 2, "two untracked again")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RAINDROPS_BIND", "nonsense"),
        ("RAINDROPS_BIND", "127.0.0.1:70000"),
        ("RAINDROPS_PATH", "relative"),
        ("RAINDROPS_EXPOSE", "perhaps"),
        ("RAINDROPS_ALLOW", "10.0.0.0/99"),
        ("RAINDROPS_TOKEN", "two words"),
        ("RAINDROPS_LISTENERS", "127.0.0.1"),
        ("RAINDROPS_MAX_WORKERS", "0"),
    ],
)
def test_a_bad_setting_stops_the_start_with_one_line(serve, variable, value, tmp_path):
    """The line names the setting and what it takes; no worker was forked, no pidfile stays."""
    pidfile = tmp_path / "pid"
    server = serve("--pid", str(pidfile), env={variable: value})
    done = subprocess.run(
        server.command, env=server.env, capture_output=True, text=True, timeout=LONG, check=False
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if variable in line]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr
    assert "Booting" not in done.stderr
    assert not pidfile.exists()


def test_a_bad_keyword_stops_the_start_with_one_line(serve, tmp_path):
    """Wherever it came from: a setting that does not exist names those that do."""
    for call, word in [("bind='x'", "bind"), ("bnid='127.0.0.1:1'", "bnid"), ("path=7", "path")]:
        conf = f"import gunicorn_raindrops\ngunicorn_raindrops.hooks.install(globals(), {call})\n"
        server = serve(conf=conf)
        done = subprocess.run(
            server.command, env=server.env, capture_output=True, text=True, timeout=LONG
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert [word in line for line in done.stderr.splitlines() if "Error" in line] == [True]


def test_a_setting_that_turns_bad_at_a_reload_changes_nothing(serve, tmp_path, gunicorn):
    """A typo in the conf file at a HUP must not take the server down."""
    good = (
        "import gunicorn_raindrops\n"
        "gunicorn_raindrops.hooks.install(globals(), bind='127.0.0.1:0')\n"
    )
    with serve("--workers", "2", conf=good, gunicorn=gunicorn) as server:
        before = {worker["pid"] for worker in server.ready(2)["workers"]}
        conf = Path(server.command[server.command.index("-c") + 1])
        rewrite(conf, good.replace("127.0.0.1:0", "nonsense"))
        os.kill(server.pid, signal.SIGHUP)
        server.logged(r"nonsense.*stay as they were")
        eventually(
            lambda: (
                len(now := server.ready(2)["workers"]) == 2
                and not before & {worker["pid"] for worker in now}
            ),
            "two new workers",
        )
        assert server.get("/") == (200, b"hello\n")


def test_a_file_that_is_cut_short_while_in_use(serve, gunicorn, tmp_path):
    """No process dies of it. The status cannot be told until new workers count in memory."""
    file = tmp_path / "board"
    with serve("--workers", "2", gunicorn=gunicorn, env={"RAINDROPS_FILE": str(file)}) as server:
        server.ready(2)
        before = set(server.workers())
        assert server.get("/")[0] == 200
        file.write_bytes(b"")
        pids = {server.get("/pid") for _ in range(50)}
        assert {status for status, _ in pids} == {200}
        assert server.ask()[0] == 500
        assert set(server.workers()) == before
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: not before & set(server.workers()), "all workers new")
        assert server.ready(2)["requests"] == 0
        server.get("/")
        eventually(lambda: server.status()["requests"] == 1, "counted")
        warnings = [line for line in server.warnings() if str(file) in line]
        assert len(warnings) == 1, server.warnings()
        assert any("the status cannot be told" in line for line in server.warnings())
