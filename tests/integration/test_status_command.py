"""The command `status` on real servers: stuck, stopped, of other users, in other namespaces."""

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from gunicorn_raindrops import cli

from ..bounds import WAIT
from ..schema import check
from .servers import APPS, BROKEN, ROOT, eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def run(*arguments, user=None):
    """Return the command's status, output and errors: of a process, if it is to be a user's."""
    command = ["status", *map(str, arguments)]
    if user is not None:
        command = [*user, sys.executable, "-m", "gunicorn_raindrops", *command]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
        return done.returncode, done.stdout, done.stderr
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(command)
    return code, out.getvalue(), err.getvalue()


def status(*arguments, user=None):
    """Return what it tells as JSON, which it must do without a word beside."""
    code, out, err = run(*arguments, "--json", user=user)
    assert (code, err) == (0, "")
    return check(json.loads(out))


def test_nobody_can_answer(serve, background):
    """All workers in a C call that holds the interpreter, then the arbiter stopped as well: what
    runs is known all the same, by the arbiter and by a worker."""
    with serve("--workers", "2", "--timeout", "0") as server:
        pid, *workers = server.pid, *[row["pid"] for row in server.ready(2)["workers"]]
        for _ in workers:
            background.add(server.get, "/stick?s=60")
        eventually(lambda: status("--pid", pid)["calling"] == 2, "both workers stuck")
        with pytest.raises(BROKEN):
            server.ask(timeout=0.2)
        assert json.loads(run("--pid", pid, "--json", user=())[1])["calling"] == 2
        for of in (pid, workers[0]):
            found = status("--pid", of)
            assert (found["calling"], found["arbiter"]["pid"]) == (2, pid)
            assert [row["pid"] for row in found["workers"]] == workers
            assert found["listeners"][0]["active"] == 2
        server.send(signal.SIGSTOP)
        assert status("--pid", pid)["calling"] == 2
        assert f"arbiter {pid} in {APPS}: {server.name}\n" in run()[1]
        server.kill()


def known(found):
    """Return what does not change between two looks, and is known from outside as well."""
    found = {
        name: value for name, value in found.items() if name not in ("time", "uptime", "arbiter")
    }
    for row in found["workers"]:
        for name in ("started", "cpu_seconds", "rss_bytes", "lag_seconds"):
            assert row.pop(name) is not None
    return found


def test_the_same_as_the_url(serve, tmp_path, gunicorn):
    """The same figures and the same listeners, be these TCP or unix: the status address is none of
    them, nor is any other socket of gunicorn's. The text is the same as well."""
    path = f"{tmp_path}/status.sock"
    binds = ["127.0.0.1:0", f"unix:{tmp_path}/app.sock"]
    env = {"RAINDROPS_BIND": f"unix:{path}"}
    with serve("--workers", "2", gunicorn=gunicorn, bind=binds, env=env) as server:
        server.logged("status at unix:")
        at = f"unix:{path}"

        def ready():
            return [one["state"] for one in status(at)["workers"]] == ["idle", "idle"]

        eventually(ready, "two workers")
        server.get("/")
        eventually(lambda: status(at)["requests"] == 1, "the request's end")
        by_url, by_pid = status(at), status("--pid", server.pid)
        assert by_url["arbiter"]["worker_class"] == "sync"
        assert abs(by_url["uptime"] - by_pid["uptime"]) < 60
        assert {one["family"] for one in by_pid["listeners"]} == {"inet", "unix"}
        assert known(by_pid) == known(by_url)
        texts = [run(*which)[1] for which in (["--pid", server.pid], [at])]
        assert texts[0].partition("\n\n")[0] == texts[1].partition("\n\n")[0]


def test_a_file_and_listeners_of_workers(serve, tmp_path):
    """A scoreboard in a file is found, too; with `reuse_port` the workers have the listeners."""
    env = {"RAINDROPS_FILE": str(tmp_path / "board")}
    with socket.socket() as held:  # has the port for the workers, and does not listen
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{held.getsockname()[1]}"
        with serve("--workers", "2", "--reuse-port", bind=[bind], env=env) as server:
            workers = [row["pid"] for row in server.ready(2)["workers"]]
            for of in (server.pid, workers[1]):
                found = status("--pid", of)
                assert [one["address"] for one in found["listeners"]] == [bind]
                assert [row["pid"] for row in found["workers"]] == workers
            assert server.pid in [one["arbiter"]["pid"] for one in json.loads(run("--json")[1])]


def test_an_upgrade(serve):
    """Two generations share one scoreboard: it is shown once, with both arbiters."""
    with serve("--workers", "1") as server:
        server.ready(1)
        old, new = server.pid, server.upgrade(1)
        lines = [line for line in run()[1].splitlines() if f" {old}, {new} " in line]
        assert lines == [f"arbiters {old}, {new} in {APPS}: {server.name}"]
        for pid in (old, new):
            found = status("--pid", pid)
            assert (found["arbiter"]["pid"], len(found["workers"])) == (pid, 2)


def as_user(number):
    return ("setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups")


FIRST, SECOND, THIRD = map(as_user, (54321, 54322, 54323))
IN_NETWORK = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")


def can(*command):
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, timeout=WAIT).returncode == 0
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has processes of several users")
@pytest.mark.skipif(not shutil.which("ip"), reason="needs ip(8)")
def test_users_and_networks(serve):
    """Each user sees their own server, root both, also the one in another network namespace; a
    user who may not enter that is told which figures are missing."""
    if not can(*FIRST, sys.executable, "-c", "import gunicorn_raindrops.cli"):
        pytest.skip("another user can run neither setpriv(1) nor this Python")
    if not can(*IN_NETWORK, "true"):
        pytest.skip("no network namespaces can be made here")
    with serve(launcher=FIRST) as one, serve(launcher=(*IN_NETWORK, *SECOND)) as other:
        both = {one.pid: one.name, other.pid: other.name}
        for server in (one, other):
            server.logged("Booting worker")
        eventually(lambda: len(of_users(both, None)) == 2, "both servers")
        found = of_users(both, None)
        assert {pid: row["address"] for pid, row in found.items()} == both
        assert all(row["queued"] == 0 for row in found.values())
        assert of_users(both, FIRST)[one.pid]["queued"] == 0
        assert of_users(both, SECOND)[other.pid]["queued"] is None
        assert len(of_users(both, FIRST)) == len(of_users(both, SECOND)) == 1
        code, _, err = run("--pid", other.pid, user=SECOND)
        assert (code, err.count("\n")) == (0, 1) and "network namespace" in err
        for arguments in ((), ("--pid", one.pid)):
            code, out, err = run(*arguments, user=THIRD)
            assert (code, out) == (1, "") and err.count("\n") == 1


def of_users(pids, user):
    """Return the listener of each of some servers that a user sees."""
    code, out, err = run("--json", user=user)
    assert "Traceback" not in err
    rows = json.loads(out) if code == 0 else []
    return {
        row["arbiter"]["pid"]: row["listeners"][0]
        for row in rows
        if row["arbiter"]["pid"] in pids and check(row)["listeners"]
    }
