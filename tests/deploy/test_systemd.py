"""The shipped units, hardening and all, in a real systemd that is pid 1 of namespaces of its own.

What the units need and a test has not is replaced: the user `app` by Debian's www-data; and a
drop-in shows the service this repository and this interpreter, which may be in somebody's home.
"""

import json
import re
import shutil
import socket
import subprocess
import sys

import pytest

from ..bounds import WAIT
from ..integration.servers import APPS, ROOT, Server, eventually
from .pid1 import USER, Systemd

pytestmark = pytest.mark.once

FOLDER = ROOT / "examples/deploy/systemd"
LISTENER = "/run/app/gunicorn.sock"
STATUS = "/run/app-status/status.sock"
EXPOSURE = 20  # tenths; of systemd's ten levels, 0 is the safest

# The tests start it more often than systemd would let it.
DROP_IN = f"""[Unit]
StartLimitIntervalSec=0
[Service]
ProtectHome=tmpfs
BindReadOnlyPaths={sys.base_prefix} {ROOT}
StandardOutput=append:/run/app.log
StandardError=append:/run/app.log
"""
GUNICORN = "/srv/app/venv/bin/gunicorn -c python:gunicorn_raindrops.conf --workers 1"


def analyze(*args):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    command = ["systemd-analyze", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT)


def test_verify(tmp_path):
    """systemd knows every line of both units."""
    for name in ("app.service", "app.socket"):
        text = (FOLDER / name).read_text()
        (tmp_path / name).write_text(text.replace("/srv/app/venv", sys.prefix))
    done = analyze("verify", tmp_path / "app.service", tmp_path / "app.socket")
    assert done.returncode == 0, done.stderr
    assert "app." not in done.stderr


def test_exposure():
    """As systemd rates it; a unit without hardening gets 9.6."""
    done = analyze("security", "--offline=yes", f"--threshold={EXPOSURE}", FOLDER / "app.service")
    assert done.returncode == 0, done.stdout


def test_socket_activate(tmp_path):
    """systemd's own small activator, with the unit's command: the status shows its listener."""
    activator = shutil.which("systemd-socket-activate")
    if activator is None:
        pytest.skip("no systemd-socket-activate: apt-get install systemd")
    (command,) = re.findall("^ExecStart=(.*)$", (FOLDER / "app.service").read_text(), re.M)
    assert command.endswith("/gunicorn -c python:gunicorn_raindrops.conf --workers 4 myapp:app")
    address = tmp_path / "gunicorn.sock"
    launcher = [activator, "-l", str(address)]
    # it passes no more of the environment on than it is told
    for name in ("PATH", "HOME", "RAINDROPS_BIND"):
        launcher += ["-E", name]
    with Server(tmp_path, "--workers", "4", bind=(), launcher=launcher) as server:
        server.logged("Listening on")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(address))
            status = server.ready(4)
        (listener,) = status["listeners"]
        assert listener["address"] == str(address)
        assert listener["queued"] is not None


@pytest.fixture(scope="module")
def systemd(tmp_path_factory):
    """A systemd that holds app.socket; nobody has connected yet."""
    units = tmp_path_factory.mktemp("units")
    service = (FOLDER / "app.service").read_text()
    service = service.replace("User=app\nGroup=app\n", f"User={USER}\nGroup={USER}\n")
    (units / "app.service").write_text(service)
    shutil.copy(FOLDER / "app.socket", units)
    shutil.copy(APPS / "apps.py", units / "myapp.py")
    (units / "app.service.d").mkdir()
    (units / "app.service.d/a-test.conf").write_text(DROP_IN)
    with Systemd(units, "app.socket") as systemd:
        yield systemd


def status_of(systemd):
    return json.loads(systemd.ask(STATUS, "/_raindrops.json"))


def ready(systemd, workers):
    """Wait until so many workers serve; returns the status."""

    def all_there():
        status = status_of(systemd)
        states = [worker["state"] for worker in status["workers"]]
        return len(states) == workers and "starting" not in states and status

    eventually(systemd.path(STATUS).exists, systemd.log)
    return eventually(all_there, systemd.log)


def restart(systemd, drop_in, workers=1):
    """Start anew with these lines in the unit."""
    systemd.drop_in("app.service", f"[Service]\n{drop_in}\n")
    systemd.systemctl("restart", "app.service")
    return ready(systemd, workers)


def as_shipped(systemd):
    return restart(systemd, "", 4)


def test_the_first_connection_starts_it(systemd):
    """It is answered, and the status has what it has without hardening."""
    systemd.drop_in("app.service", "")
    systemd.systemctl("stop", "app.service")
    assert systemd.ask(LISTENER, "/") == b"hello\n"
    status = ready(systemd, 4)
    (listener,) = status["listeners"]
    assert listener["address"] == LISTENER
    assert [listener[name] for name in ("active", "queued", "waiting")] == [0, 0, 0]
    assert listener["backlog"] <= 2048
    for worker in status["workers"]:
        assert worker["cpu_seconds"] is not None
        assert worker["rss_bytes"] > 1 << 20
    assert oct(systemd.path(STATUS).parent.stat().st_mode)[-3:] == "750"
    assert oct(systemd.path(STATUS).stat().st_mode)[-3:] == "600"
    eventually(systemd.path("/run/app-status/gunicorn.ctl").exists, systemd.log)
    assert "ERROR" not in systemd.log()
    assert "WARNING" not in systemd.log()


@pytest.mark.slow
def test_nobody_is_refused_while_it_restarts(systemd):
    """The listener is systemd's: it is there while gunicorn is not, and is the same afterwards."""
    as_shipped(systemd)
    inode = systemd.path(LISTENER).stat().st_ino
    systemd.systemctl("stop", "app.service")
    assert not systemd.path(STATUS).exists()
    assert systemd.ask(LISTENER, "/") == b"hello\n"
    ready(systemd, 4)
    assert systemd.path(LISTENER).stat().st_ino == inode


@pytest.mark.slow
def test_reload_and_a_killed_worker(systemd):
    """One scoreboard for all; who was killed is counted, though /proc shows less than elsewhere."""
    before = as_shipped(systemd)
    pids = {worker["pid"] for worker in before["workers"]}
    systemd.systemctl("reload", "app.service")
    eventually(lambda: not pids & {w["pid"] for w in status_of(systemd)["workers"]}, "new workers")
    status = ready(systemd, 4)
    assert (status["arbiter"]["pid"], status["exits"]["graceful"]) == (before["arbiter"]["pid"], 4)
    assert kill_one(systemd) in pids_of_the_killed(systemd)


def kill_one(systemd):
    """SIGKILL a worker; returns its pid inside."""
    pid = status_of(systemd)["workers"][0]["pid"]
    command = ["nsenter", "-t", str(systemd.pid), "-p", "-m", "kill", "-9", str(pid)]
    subprocess.run(command, check=True, timeout=WAIT)
    return pid


def pids_of_the_killed(systemd):
    eventually(lambda: status_of(systemd)["exits"]["killed"] == 1, systemd.log)
    return [killed["pid"] for killed in status_of(systemd)["killed"]]


@pytest.mark.slow
@pytest.mark.parametrize("where", [[f"unix:{STATUS}"], []])
def test_the_command(systemd, where):
    """Outside of the unit, as root: at the status socket, and by finding the server."""
    as_shipped(systemd)
    command = [
        "nsenter",
        "-t",
        str(systemd.pid),
        "-m",
        "-p",
        f"{sys.prefix}/bin/gunicorn-raindrops",
    ]
    done = subprocess.run(
        [*command, "status", *where], capture_output=True, text=True, timeout=WAIT
    )
    assert done.returncode == 0, done.stderr
    assert f"{LISTENER} queued: 0" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gthread --threads 2", "gevent", "asgi"])
def test_other_worker_classes(systemd, kind):
    """They may do what they need, too."""
    if kind == "asgi":
        systemd.path("/srv/app/myasgi.py").write_text(ASGI)
    app = "myasgi:app" if kind == "asgi" else "myapp:app"
    line = f"ExecStart=\nExecStart={GUNICORN} --worker-class {kind} {app}"
    restart(systemd, line)
    assert systemd.ask(LISTENER, "/") == b"hello\n"
    eventually(lambda: status_of(systemd)["requests"] == 1, systemd.log)


ASGI = """
async def app(scope, receive, send):
    headers = [(b"content-length", b"6")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello\\n"})
"""


@pytest.mark.slow
def test_what_is_lost_without_netlink(systemd):
    """The listeners' figures, and nothing else: they are null, never 0."""
    families = "RestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    status = restart(systemd, families, 4)
    (listener,) = status["listeners"]
    assert [listener[name] for name in ("active", "queued", "waiting")] == [None] * 3
    assert (status["waiting"], status["saturation"]) == (None, None)
    assert status["utilization"] is not None
    assert systemd.ask(LISTENER, "/") == b"hello\n"


@pytest.mark.slow
def test_the_status_over_tcp(systemd):
    """As Prometheus needs it."""
    systemd.drop_in("app.service", "[Service]\nEnvironment=RAINDROPS_BIND=127.0.0.1:9180\n")
    systemd.systemctl("restart", "app.service")
    code = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9180/metrics').read())"
    command = ["nsenter", "-t", str(systemd.pid), "-n", sys.executable, "-c", code]

    def scraped():
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT)
        return "gunicorn_requests_in_flight 0.0" in done.stdout

    eventually(scraped, systemd.log)
