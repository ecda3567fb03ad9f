"""The clients of `make demo`; what it serves is tried with the pages that show it (tests/docs)."""

import os
import runpy
import signal
import socket
import subprocess
import sys
import threading

import pytest

from ..bounds import LONG, WAIT
from ..ports import free_address
from ..processes import alive, children
from .servers import ROOT, eventually

DEMO = ROOT / "examples" / "demo.py"
BROKEN_OFF = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"


def test_a_client_whose_response_is_broken_off(monkeypatch):
    """As by Ctrl-C. It asks again, and prints nothing."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT)
        monkeypatch.setenv("DEMO_BIND", f"127.0.0.1:{listener.getsockname()[1]}")
        ask = runpy.run_path(str(DEMO))["client"]
        client = threading.Thread(target=ask, args=(over,))
        client.start()
        try:
            for _ in range(2):
                with listener.accept()[0] as connection:
                    connection.recv(4096)
                    connection.sendall(BROKEN_OFF)
        finally:
            over.set()
            client.join(WAIT)


def end_at_once(demo):
    """End what has not ended by itself; the server has a session of its own."""
    for server in children(demo.pid):
        os.killpg(server, signal.SIGKILL)
    demo.kill()
    demo.wait(WAIT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_it_ends(tmp_path, number):
    """By Ctrl-C, or as its terminal is closed: no request is broken off, and nothing is left."""
    log = tmp_path / "log"
    env = {**os.environ, "HOME": str(tmp_path), "DEMO_BIND": free_address()}
    env["RAINDROPS_BIND"] = "127.0.0.1:0"
    with log.open("w") as output:
        demo = subprocess.Popen(
            [sys.executable, DEMO], env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        eventually(lambda: log.read_text().count("Booting worker") == 2, log.read_text, LONG)
        (server,) = children(demo.pid)
        served = eventually(lambda: children(server), "its workers")
        os.killpg(demo.pid, number)
        assert demo.wait(LONG) == 0
        assert "Traceback" not in log.read_text()
        assert not any(map(alive, (server, *served)))
    finally:
        end_at_once(demo)
