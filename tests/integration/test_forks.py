"""The status thread beside an application that forks: it imports nothing, and holds no lock."""

import http.client
import signal
import socket
from pathlib import Path

import pytest

from ..bounds import WAIT
from .classes import each
from .servers import eventually

WATCHED = """
import builtins, os, sys
import gunicorn_raindrops

def watched(name, *args, **kwargs):
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_run" and frame.f_code.co_filename.endswith("status/thread.py"):
            os.write(2, f"imports {name}, modules {len(sys.modules)}\\n".encode())
            break
        frame = frame.f_back
    return imported(name, *args, **kwargs)

imported, builtins.__import__ = builtins.__import__, watched
gunicorn_raindrops.hooks.install(
    globals(), ready="/ready", listeners=["127.0.0.1:1", "/nowhere", "@nowhere"]
)
"""
ROUTES = [
    ("GET", "/_raindrops", {}),
    ("HEAD", "/_raindrops", {}),
    ("POST", "/_raindrops", {}),
    ("GET", "/_raindrops.json", {}),
    ("GET", "/_raindrops.json?since=1700000000.5", {}),
    ("GET", "/_raindrops.json?since=x", {}),
    ("GET", "/_raindrops.prom", {}),
    ("GET", "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"}),
    ("GET", "/metrics", {"Accept": "text/plain; version=x; escaping=\xe9"}),
    ("GET", "/ready", {}),
    ("GET", "/nothing", {"Authorization": "Bearer \xe9"}),
    ("GET", "/_raindrops", {"Host": "elsewhere.example"}),
    ("GET", "/_raindrops", {"Origin": "http://elsewhere.example"}),
]


@each
def test_the_thread_imports_nothing(serve, gunicorn, kind):
    """Not even what is imported already, whatever it is asked and whatever it does each second."""
    kind.available(gunicorn)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(WAIT)
        port = statsd.getsockname()[1]
        args = ("--workers", "1", "--statsd-host", f"localhost:{port}", *kind.args)
        with serve(*args, gunicorn=gunicorn, conf=WATCHED, app=kind.app) as server:
            server.ready(1)
            for method, path, headers in ROUTES * 2:
                code, _, _ = server.ask(path, method, headers)
                if path == "/metrics":
                    assert code == 200
            with socket.create_connection(server.status_address) as rubbish:
                rubbish.sendall(b"\x16\x03\x01 rubbish\r\n\r\n")
                rubbish.recv(1000)
            while b"total_workers" not in statsd.recv(1000):
                pass
            assert [line for line in server.log if line.startswith("imports")] == []
            server.kill()


SLOW = """
import sys, threading, time
import gunicorn_raindrops

class Slow:
    def find_spec(self, name, *args):
        if name == "prometheus_client":
            time.sleep(0.5)

sys.meta_path.insert(0, Slow())
gunicorn_raindrops.hooks.install(globals())
"""
FORKING = """
import os, threading, time

def app(environ, start_response):
    pid = os.fork()
    if pid == 0:
        try:
            import prometheus_client
        finally:
            os._exit(0)
    until, done = time.monotonic() + 30, 0
    while not done and time.monotonic() < until:
        done = os.waitpid(pid, os.WNOHANG)[0]
        time.sleep(0.01)
    if not done:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    body = b"done" if done else b"hangs"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_a_fork_while_metrics_are_asked_for_first(serve, tmp_path, worker, preload):
    """The child can import what an answer needs, at whatever moment it was forked."""
    (tmp_path / "forking.py").write_text(FORKING)
    args = ("--workers", "1", "--worker-class", worker, *preload)
    env = {"PYTHONPATH": str(tmp_path)}
    with serve(*args, conf=SLOW, env=env, app="forking:app") as server:
        server.ready(1)
        asking = http.client.HTTPConnection(*server.status_address, timeout=WAIT)
        asking.request("GET", "/metrics")
        eventually(lambda: server.get("/") == (200, b"done"), "a child that ends", 0)
        assert asking.getresponse().status == 200
        asking.close()


MULTIPROCESS = """
import os
os.environ["PROMETHEUS_MULTIPROC_DIR"] = "."

def app(environ, start_response):
    from prometheus_client import values  # it decides at its import how it counts
    body = values.ValueClass.__name__.encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_an_application_that_uses_prometheus_client(serve, tmp_path, preload):
    """It is not imported, as far as the application can see, before that has said how it is to
    count."""
    (tmp_path / "multiprocess.py").write_text(MULTIPROCESS)
    env = {"PYTHONPATH": str(tmp_path)}
    with serve("--workers", "1", *preload, env=env, app="multiprocess:app") as server:
        server.ready(1)
        assert server.ask("/metrics")[0] == 200
        assert server.get("/") == (200, b"MmapedValue")


SHARED = """
import gc
import sys

def app(environ, start_response):
    queries = sys.modules["gunicorn_raindrops.listeners.queries"]
    found = [gc.get_freeze_count() > 10000, gc.isenabled()]
    found += [queries.load.cache_info().currsize == 1]
    found += [name in sys.modules for name in ("pyroute2", "prometheus_client")]
    body = repr(found).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_what_workers_share(serve, tmp_path, gunicorn):
    """The arbiter has imported what they need and frozen it, and does so again at a HUP. The
    application sees neither prometheus_client nor pyroute2 unless it imports them: what is there is
    a copy of our own."""
    (tmp_path / "shared.py").write_text(SHARED)
    env = {"PYTHONPATH": str(tmp_path)}
    with serve("--workers", "1", env=env, app="shared:app", gunicorn=gunicorn) as server:
        for _ in range(2):
            server.ready(1)
            assert server.ask("/metrics")[0] == 200
            assert server.get("/") == (200, b"[True, True, True, False, False]")
            server.renewed(lambda: server.send(signal.SIGHUP), 1)


@pytest.mark.parametrize("worker", ["sync", "asgi"])
def test_without_the_thread(serve, worker):
    """A worker has one where there is a status address or statsd, and none else. What is exposed
    is there all the same."""
    app = "asgi_apps:app" if worker == "asgi" else "apps:app"
    args = ("--workers", "1", "--worker-class", worker)
    env = {"RAINDROPS_EXPOSE": "1"}

    def threads(server):
        eventually(lambda: server.get("/_raindrops")[0] == 200, "the status")
        (pid,) = server.workers()
        return len(list(Path(f"/proc/{pid}/task").iterdir()))

    with serve(*args, app=app, env=env) as server:
        assert threads(server) == 2
    with serve(*args, app=app, env=env | {"RAINDROPS_BIND": ""}) as server:
        assert threads(server) == 1
