"""The status address of a real server: to whom it discloses, and what it costs the application."""

import contextlib
import os
import signal
import socket
import stat
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

from gunicorn_raindrops.cli import proc

from ..bounds import WAIT
from ..ports import free_port
from ..processes import alive, children, listens
from .servers import connect, eventually, rewrite


def uwsgi(**variables):
    """Return a request in the uwsgi protocol, as nginx's uwsgi_pass sends it."""
    packed = b"".join(
        struct.pack("<H", len(part)) + part
        for item in variables.items()
        for part in (item[0].encode(), item[1].encode())
    )
    return struct.pack("<BHB", 0, len(packed), 0) + packed


# Who may read.


def test_nothing_is_exposed_to_the_uwsgi_protocol(serve):
    """Its client is a proxy, and names whom it likes. One warning says so."""
    env = {"RAINDROPS_EXPOSE": "1"}
    with serve("--workers", "1", "--protocol", "uwsgi", env=env) as server:
        server.ready(1)
        with connect(server.address) as client:
            client.sendall(
                uwsgi(
                    REQUEST_METHOD="GET",
                    PATH_INFO="/_raindrops",
                    REQUEST_URI="/_raindrops",
                    QUERY_STRING="",
                    SERVER_PROTOCOL="HTTP/1.1",
                    REMOTE_ADDR="127.0.0.1",
                    HTTP_HOST="x",
                )
            )
            assert client.recv(12)[9:] == b"404"
        (warning,) = server.warnings()
        assert "expose: with the uwsgi protocol" in warning


@pytest.mark.parametrize("name", ["Via", "True-Client-IP", "X-Cluster-Client-IP"])
def test_nothing_is_exposed_behind_a_proxy(serve, gunicorn, name):
    """A request with any sign of one is the application's."""
    with serve("--workers", "1", env={"RAINDROPS_EXPOSE": "1"}, gunicorn=gunicorn) as server:
        server.ready(1)
        assert server.get("/_raindrops")[0] == 200
        assert server.get("/_raindrops", headers={name: "1.1 x"})[0] == 404


def test_pages_of_strangers(serve, gunicorn):
    """A rebound name is 421, another site's page 403; with the token any name is answered."""
    with serve("--workers", "1", gunicorn=gunicorn) as server:
        assert server.ask()[0] == 200
        assert server.ask(headers={"Host": "rebound.example"})[0] == 421
        assert server.ask(headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
        assert server.ask(headers={"Host": "gunicorn:9180"})[0] == 421
    env = {"RAINDROPS_TOKEN": "s3cret"}
    with serve("--workers", "1", env=env, gunicorn=gunicorn) as server:
        scrape = {"Host": "gunicorn:9180", "Authorization": "Bearer s3cret"}
        assert server.ask(headers=scrape)[0] == 200


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o600), ("0660", 0o660)])
def test_mode_of_a_unix_socket(serve, gunicorn, tmp_path, mode, expected):
    """Nobody else may connect unless `mode` says so, whatever the umask."""
    path = tmp_path / "status.sock"
    env = {"RAINDROPS_BIND": f"unix:{path}"} | ({"RAINDROPS_MODE": mode} if mode else {})
    launcher = ("sh", "-c", 'umask 0; exec "$0" "$@"')
    with serve("--workers", "1", gunicorn=gunicorn, env=env, launcher=launcher) as server:
        server.logged("status at unix:")
        assert stat.S_IMODE(path.stat().st_mode) == expected
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: b"calling" in ask(path), "an answer")
    assert not path.exists()


def ask(path, request=b"GET /_raindrops HTTP/1.0\r\n\r\n"):
    """Ask a unix status address."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT)
        client.connect(str(path))
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_unix_socket_of_another_server(serve, gunicorn, tmp_path):
    """A server that ends removes its own socket's file, not what stands there by then; also after
    an upgrade."""
    path = tmp_path / "status.sock"
    env = {"RAINDROPS_BIND": f"unix:{path}"}
    with serve("--workers", "1", gunicorn=gunicorn, env=env) as server:
        server.logged("status at unix:")
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.is_socket()


def test_a_listeners_name_cannot_mislead(serve, gunicorn):
    """A name with a newline or an escape sequence is no line of its own, and steers no terminal."""
    env = {"RAINDROPS_LISTENERS": "/run/a\ncalling: 7,/run/\x1b]0;x\x07"}
    with serve("--workers", "1", gunicorn=gunicorn, env=env) as server:
        lines = server.ask()[1].splitlines()
        assert rb"/run/a\ncalling: 7 active: 0" in lines
        assert rb"/run/\x1b]0;x\x07 active: 0" in lines
        assert b"\x1b" not in server.ask()[1]


# What it costs the application.


def test_silent_clients_cost_no_descriptors(serve, gunicorn, tmp_path):
    """Where there are few, 120 of them cost the application no request."""
    path = tmp_path / "status.sock"
    env = {"RAINDROPS_BIND": f"unix:{path}"}
    args = ("--workers", "1", "--threads", "4", "--worker-class", "gthread")
    launcher = ("sh", "-c", 'ulimit -n 64; exec "$0" "$@"')
    with contextlib.ExitStack() as stack:
        kwargs = {"gunicorn": gunicorn, "env": env, "launcher": launcher}
        server = stack.enter_context(serve(*args, **kwargs))
        assert server.get("/") == (200, b"hello\n")
        clients = ThreadPoolExecutor(24)
        stack.enter_context(clients)
        for _ in range(120):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(str(path))
        for _ in range(3):
            answers = list(clients.map(server.get, ["/sleep?s=0.1"] * 24))
            assert answers == [(200, b"slept\n")] * 24
        assert b"calling: 0" in ask(path)
        assert server.warnings() == []


AT_IMPORT = """
import os, signal
from apps import app

if not os.fork():
    signal.pause()
"""
CHILDREN = [
    *(("/child", worker_class) for worker_class in ("sync", "gthread", "gevent")),
    *(("/child?by=c", worker_class) for worker_class in ("sync", "gthread")),
    ("/", "sync"),
]


@pytest.mark.parametrize(("path", "worker_class"), CHILDREN)
def test_an_applications_children_leave_the_address(serve, tmp_path, gunicorn, path, worker_class):
    """A child that the application forked, in a request or at its import, outlives its killed
    server; the next one has the address at once, and nobody who asks it waits for the child."""
    address = ("127.0.0.1", free_port())
    (tmp_path / "at_import.py").write_text(AT_IMPORT)
    env = {"RAINDROPS_BIND": f"127.0.0.1:{address[1]}", "PYTHONPATH": str(tmp_path)}
    args = ("--workers", "1", "--worker-class", worker_class)
    kwargs = {"gunicorn": gunicorn, "env": env, "app": "apps:app"}
    with serve(*args, **kwargs | ({"app": "at_import:app"} if path == "/" else {})) as server:
        assert server.get(path)[0] == 200
        (worker,) = server.workers()
        (child,) = children(worker)
        try:
            # fork(2) may return before the child has run, and thus before it has left the address
            eventually(lambda: not listens(child, address), "left")
            for pid in (server.pid, worker):
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: not (alive(server.pid) or alive(worker)), "gone")
            assert refused(address)
            with serve(*args, **kwargs) as following:
                following.ready(1)
                assert following.warnings() == []
        finally:
            os.kill(child, signal.SIGKILL)


# What is announced.

STRANGE = """
import time
import gunicorn_raindrops
from gunicorn.workers.base import Worker

class Strange(Worker):
    def run(self):
        while self.alive:
            self.notify()
            time.sleep(0.05)

worker_class = Strange
gunicorn_raindrops.hooks.install(globals(), bind="{}")
"""


def test_an_unknown_worker_class(serve, tmp_path, gunicorn):
    """Nothing listens, and nothing is announced, where nobody would answer; a HUP that changes the
    class opens and closes the address."""
    address = ("127.0.0.1", free_port())
    conf = STRANGE.format("{}:{}".format(*address))
    with serve("--workers", "1", conf=conf, gunicorn=gunicorn) as server:
        server.logged("Booting worker")
        (warning,) = server.warnings()
        assert "no status" in warning
        with pytest.raises(ConnectionRefusedError):
            connect(address).close()
        assert not any("status at" in line for line in server.log)
        rewrite(tmp_path / "gunicorn.conf.py", conf.replace("= Strange", "= 'sync'"))
        os.kill(server.pid, signal.SIGHUP)
        server.logged("status at")
        server.ready(1)
        rewrite(tmp_path / "gunicorn.conf.py", conf)
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: refused(address), "closed")


def refused(address):
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    return False


HELPER = """
import ctypes, os, signal, gunicorn_raindrops

def {hook}:
    pid = {fork}()
    if pid:
        return server.log.info("a helper: %d", pid)
    signal.pause()

"""
INSTALL = "gunicorn_raindrops.hooks.install(globals())\n"
BY_HAND = """
forking = pre_fork

def helped(server, worker):
    forking(server, worker)
    gunicorn_raindrops.hooks.pre_fork(server, worker)

from gunicorn_raindrops.hooks import *
pre_fork = helped
"""
HELPERS = [
    ("when_ready(server)", "os.fork", "", INSTALL),
    ("when_ready(server)", "ctypes.PyDLL(None).fork", "board", INSTALL),
    ("pre_fork(server, worker)", "os.fork", "board", INSTALL),
    ("pre_fork(server, worker)", "os.fork", "", BY_HAND),
    ("post_fork(server, worker)", "os.fork", "", INSTALL),
]


@pytest.mark.parametrize(("hook", "fork", "file", "install"), HELPERS)
def test_a_child_of_the_arbiter_keeps_nothing(serve, gunicorn, tmp_path, hook, fork, file, install):
    """A helper that a user's hook has forked lives on; nobody can connect any more, the next server
    has the file, and no command takes the helper for a server."""
    env = {"RAINDROPS_FILE": str(tmp_path / file)} if file else {}
    conf = HELPER.format(hook=hook, fork=fork) + install
    with serve("--workers", "1", conf=conf, env=env, gunicorn=gunicorn) as server:
        server.ready(1)
        helper = int(server.logged(r"a helper: (\d+)")[1])
        others = [server.pid, *(pid for pid in server.workers() if pid != helper)]
        for pid in others:
            server.send(signal.SIGKILL, pid)
        try:
            eventually(lambda: not any(map(alive, others)), "gone")
            eventually(lambda: refused(server.status_address), "the address is free")
            assert list(proc.scoreboards(helper)) == []
            with serve("--workers", "1", env=env, gunicorn=gunicorn) as following:
                following.ready(1)
                assert following.warnings() == []
        finally:
            server.send(signal.SIGKILL, helper)
