"""Beside other code's hooks: confs that build on one another, agents that replace hooks, hooks that
run where they are not meant to."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from ..bounds import WAIT
from ..processes import alive
from .classes import each
from .servers import eventually, rewrite

BASE = """
import gunicorn_raindrops
def on_starting(server): pass
def pre_fork(server, worker): pass
def post_worker_init(worker): pass
gunicorn_raindrops.hooks.install(globals(), max_workers=8)
"""
ON_BASE = {
    "star": """
from base import *
import gunicorn_raindrops
gunicorn_raindrops.hooks.install(globals(), max_workers=8)
""",
    "calls": """
import base, gunicorn_raindrops
def on_starting(server): base.on_starting(server)
def pre_fork(server, worker): base.pre_fork(server, worker)
def post_fork(server, worker): base.post_fork(server, worker)
def post_worker_init(worker): base.post_worker_init(worker)
def pre_request(worker, req): base.pre_request(worker, req)
def post_request(worker, req, environ, resp): base.post_request(worker, req, environ, resp)
def child_exit(server, worker): base.child_exit(server, worker)
def worker_exit(server, worker): base.worker_exit(server, worker)
gunicorn_raindrops.hooks.install(globals(), max_workers=8)
""",
    "namespace": """
import base, gunicorn_raindrops
globals().update({name: value for name, value in vars(base).items() if name[:2] != "__"})
def pre_fork(server, worker): pass  # ours is no longer in it
gunicorn_raindrops.hooks.install(globals(), max_workers=8)
""",
}


@pytest.mark.parametrize("how", ON_BASE)
@pytest.mark.parametrize("worker", ["sync", "asgi"])
def test_a_conf_on_a_conf(serve, gunicorn, tmp_path, how, worker):
    """Both install our hooks; a request counts once, and a worker takes one slot, also after
    HUPs."""
    if worker == "asgi" and gunicorn != "current":
        pytest.skip("no asgi worker before 24")
    (tmp_path / "base.py").write_text(BASE)
    env = {"PYTHONPATH": str(tmp_path)}
    app = "asgi_apps:app" if worker == "asgi" else "apps:app"
    args = ("--workers", "2", "--worker-class", worker)
    with serve(*args, gunicorn=gunicorn, conf=ON_BASE[how], env=env, app=app) as server:
        server.ready(2)
        for _ in range(3):
            server.get("/")
        status = server.settled()
        assert (status["requests"], len(status["scoreboard"])) == (3, 8)
        for _ in range(2):
            server.renewed(lambda: server.send(signal.SIGHUP), 2)
        status = eventually(lambda: len((s := server.status())["workers"]) == 2 and s, "2 slots")
        assert (status["untracked"], status["requests"]) == (0, 3)
        assert server.warnings() == []


REPLACED = """
from gunicorn.config import Config
Config.{name} = lambda cfg, *args: None
import gunicorn_raindrops
gunicorn_raindrops.hooks.install(globals())
"""


def test_pre_fork_replaced(serve, gunicorn):
    """By an agent, on gunicorn's Config class: each worker claims a slot for itself, one that is
    killed gives it back, and one warning says that something is missing."""
    with serve(
        "--workers", "2", gunicorn=gunicorn, conf=REPLACED.format(name="pre_fork")
    ) as server:
        server.ready(2)
        for _ in range(3):
            server.get("/")
        status = server.settled()
        assert (status["requests"], status["capacity"], status["untracked"]) == (3, 2, 0)
        (warning,) = server.warnings()
        assert "pre_fork" in warning
        assert "Config" in warning
        (pid, _) = server.ready_workers()
        server.renewed(lambda: server.send(signal.SIGHUP), 2)
        eventually(lambda: not alive(pid), "its end")
        pid = server.ready_workers()[0]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not alive(pid), "its end")
        status = server.ready(2)
        assert (status["requests"], status["capacity"], status["untracked"]) == (3, 2, 0)


@pytest.mark.parametrize("name", ["post_request", "child_exit", "worker_exit"])
def test_another_hook_replaced(serve, gunicorn, name):
    """There is a warning that names it, and the server serves."""
    with serve("--workers", "1", gunicorn=gunicorn, conf=REPLACED.format(name=name)) as server:
        assert server.get("/") == (200, b"hello\n")
        server.ready(1)
        (warning,) = server.warnings()
        assert name in warning


CALLING = """
from gunicorn.config import Config

def around(name):
    def get(cfg):
        theirs = cfg.settings[name].get()
        return lambda *args: theirs(*args)
    return property(get)

for name in ("pre_fork", "post_fork", "post_worker_init", "pre_request", "post_request"):
    setattr(Config, name, around(name))
import gunicorn_raindrops
gunicorn_raindrops.hooks.install(globals())
"""


def test_an_agent_that_calls_what_it_replaces(serve, gunicorn):
    """Nothing is missing then, and nothing is warned of."""
    with serve("--workers", "1", gunicorn=gunicorn, conf=CALLING) as server:
        server.ready(1)
        assert server.get("/") == (200, b"hello\n")
        assert server.settled()["requests"] == 1
        assert server.warnings() == []


TOO_EARLY = """
from gunicorn_raindrops.hooks import *
def {name}({arguments}): pass
"""


@pytest.mark.parametrize(
    ("name", "arguments", "requests"),
    [
        ("on_starting", "server", 3),
        ("post_fork", "server, worker", 3),
        ("post_request", "worker, req", 0),
        ("post_worker_init", "worker", None),
    ],
)
def test_a_conf_with_hooks_below_ours(serve, name, arguments, requests):
    """gunicorn calls the conf's alone, and one warning says so. What can be done without ours is
    done; no request is in flight for ever, and no address is announced that nobody answers on."""
    conf = TOO_EARLY.format(name=name, arguments=arguments)
    with serve("--workers", "1", conf=conf) as server:
        assert [server.get("/") for _ in range(3)] == [(200, b"hello\n")] * 3
        if requests is None:
            assert "status at" not in "".join(server.log)
        else:
            status = server.settled()
            assert (status["requests"], status["calling"], status["writing"]) == (requests, 0, 0)
        (warning,) = server.warnings()
        assert f" {name}: the conf defines its own after ours" in warning


INTERRUPTED = """
import signal
from gunicorn.config import Config

def nothing(self, server, worker):
    pass  # ours would have told this process that it is no arbiter

def init(worker):
    signal.signal(signal.SIGINT, signal.default_int_handler)

Config.post_fork = nothing
Config.post_worker_init = property(lambda cfg: init)
import gunicorn_raindrops
gunicorn_raindrops.hooks.install(globals())
"""

HEALED = """
from gunicorn.config import Config
del Config.post_fork, Config.post_worker_init
import gunicorn_raindrops
gunicorn_raindrops.hooks.install(globals())
"""


def interrupt(pid):
    """Send SIGINT until the worker ends: gunicorn logs one that comes within a request, and the
    worker goes on."""
    until = time.monotonic() + WAIT
    while alive(pid):
        assert time.monotonic() < until
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        with contextlib.suppress(pytest.fail.Exception):
            eventually(lambda: not alive(pid), "its end", 2)


def test_on_exit_in_a_worker(serve, gunicorn):
    """gunicorn runs it where a KeyboardInterrupt ends a worker: the status address is the
    arbiter's, and goes on."""
    # gunicorn may still be busy with the one request that was answered, and logs that
    args = ["--workers", "1"]
    with serve(*args, gunicorn=gunicorn, conf=INTERRUPTED, tracebacks=1) as server:
        assert server.get("/") == (200, b"hello\n")
        (pid,) = server.workers()
        interrupt(pid)
        server.logged(rf"\[{pid}\] .* Shutting down: Master")
        rewrite(Path(server.command[server.command.index("-c") + 1]), HEALED)
        server.renewed(lambda: server.send(signal.SIGHUP), 1)
        assert server.status()["capacity"] == 1


LOOKING = """
import gunicorn_raindrops

def post_worker_init(worker):
    import looking
    looking.worker = worker

gunicorn_raindrops.hooks.install(globals(){more})
"""


@pytest.mark.parametrize(
    ("what", "more"),
    [("{}", ""), ("{}_object", ""), ("{}_object", ", expose=True")],
    ids=["function", "object", "exposed"],
)
@each
def test_the_application_on_its_worker(serve, gunicorn, kind, what, more):
    """A hook that looks for the application there finds its attributes, its class, and can set
    some; its requests are counted."""
    kind.available(gunicorn)
    app = "looking:" + what.format("asgi" if kind.is_asgi else "wsgi")
    conf = LOOKING.format(more=more)
    with serve(*kind.args, "--workers", "1", gunicorn=gunicorn, conf=conf, app=app) as server:
        server.ready(1)
        assert server.get("/") == (200, b"['the jobs', 'more', True, True]")
        assert server.settled()["responses"]["2xx"] == 1
        server.kill()
