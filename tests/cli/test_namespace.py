"""Network namespaces, real ones: a netlink socket is of the one that it was opened in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gunicorn_raindrops.cli import namespace
from gunicorn_raindrops.listeners import tcp_listener_stats, unix_listener_stats

from ..bounds import WAIT

pytestmark = pytest.mark.once

PROGRAM = """
import socket, sys
listener = socket.create_server(("0.0.0.0", 0), backlog=7)
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def foreign():
    """A process in a network namespace of its own, with a listener on the port that comes along."""
    unshare = ["unshare", "--net"]
    can = shutil.which("unshare") and subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL)
    if not can or can.returncode:
        pytest.skip("needs unshare(1), and the right to make network namespaces")
    pipe = subprocess.PIPE
    command = [*unshare, sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield process.pid, int(process.stdout.readline())
        process.communicate(timeout=WAIT)


def test_a_foreign_namespace(foreign):
    """Its listeners are seen through the socket; this process stays where it was."""
    pid, port = foreign
    here = Path("/proc/self/ns/net").readlink()
    name = f"0.0.0.0:{port}"
    with namespace.diag_socket(pid) as diag:
        assert tcp_listener_stats(name, diag)[name].backlog == 7
        assert list(tcp_listener_stats(sock=diag)) == [name]
    assert Path("/proc/self/ns/net").readlink() == here
    assert tcp_listener_stats(name)[name].backlog == 0


def test_one_that_may_not_be_entered(foreign, monkeypatch):
    """Asking fails, and in no other way is it asked in this process's own."""

    def refuse(number):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(namespace, "_setns", refuse)
    with namespace.diag_socket(foreign[0]) as diag:
        for ask in (tcp_listener_stats, unix_listener_stats):
            with pytest.raises(OSError, match="may not enter"):
                ask(["127.0.0.1:1", "/run/app.sock"][ask is unix_listener_stats], diag)


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_its_own_namespace():
    """That needs no entering; a process that is not there has none."""
    with namespace.diag_socket(os.getppid()) as diag:
        assert diag.fileno() >= 0
    with pytest.raises(FileNotFoundError):
        namespace.diag_socket(2**22)
