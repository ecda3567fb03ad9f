"""Harmless: whatever of ours fails, the application serves on, with one warning."""

import os
import platform
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from . import without_netlink
from .servers import APPS, eventually


def one_warning(server, *words):
    """Check that there is exactly one warning of ours, and that it says these words."""
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
        server.process.wait(10)
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
        assert listener["backlog"] > 0
        assert list(server.text()) == ["calling", "writing", f"{server.name} queued"]
        one_warning(server, "listeners")


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
        server.command, env=server.env, capture_output=True, text=True, timeout=20, check=False
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
            server.command, env=server.env, capture_output=True, text=True, timeout=20, check=False
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
        conf.write_text(good.replace("127.0.0.1:0", "nonsense"))
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
