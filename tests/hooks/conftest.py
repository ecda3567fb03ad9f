"""What the tests of the hooks share. Configs and validators are gunicorn's own; workers, requests
and responses are stand-ins (the integration tests run real servers)."""

import logging
from types import SimpleNamespace
from unittest import mock

import pytest
from gunicorn.config import Config
from gunicorn.workers.sync import SyncWorker

from gunicorn_raindrops import hooks
from gunicorn_raindrops.hooks import state
from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status.app import StatusApp

from ..exporters.test_json import SNAPSHOT

ARITY = {
    "pre_fork": 2,
    "post_fork": 2,
    "pre_request": 2,
    "post_request": 4,
    "child_exit": 2,
    "worker_exit": 2,
    "nworkers_changed": 3,
}


@pytest.fixture(autouse=True)
def own_keywords(monkeypatch):
    """What a test installs is forgotten after it."""
    monkeypatch.setattr(state.process, "__dict__", vars(state.Process()))
    with mock.patch.dict(state.keywords, clear=True):
        yield


def configured(namespace):
    """Return a Config of a conf file's globals, as gunicorn makes it."""
    cfg = Config()
    for name, value in namespace.items():
        if name in cfg.settings:
            cfg.set(name, value)
    return cfg


class Calls(list):
    """User's hooks that write down their calls, and raise what they are told to."""

    def __init__(self):
        super().__init__()
        self.error = None

    def hook(self, name, arity):
        def note(*args):
            self.append((name, args))
            if self.error is not None:
                raise self.error

        scope = {"note": note}
        args = ", ".join("abcd"[:arity])
        exec(f"def {name}({args}):\n    note({args})", scope)
        return scope[name]


@pytest.fixture
def calls():
    return Calls()


class Worker(SyncWorker):
    """As much of a worker as the hooks look at."""

    def __init__(self, cfg, app=None):
        self.cfg = cfg
        self.wsgi = app
        self.alive = True
        self.age = 1
        self.ppid = 1
        self.sockets = []
        self.log = logging.getLogger("test")

    def notify(self):
        pass


def response(status="200 OK", headers_sent=True):
    return SimpleNamespace(
        status=status,
        headers_sent=headers_sent,
        req=SimpleNamespace(version=(1, 1)),
        cfg=SimpleNamespace(is_ssl=True),
    )


REQUEST = SimpleNamespace(method="GET", path="/x")


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, form, *args):
        self.lines.append(form % args)

    debug = info = lambda self, *args: None


class Exposed:
    """A worker whose application is wrapped as post_worker_init does it, with `expose` on."""

    def __init__(self, monkeypatch, cfg=None, **keywords):
        self.reached = []
        settings = load({"expose": True, **keywords}, {})
        app = StatusApp(settings, lambda: SNAPSHOT, print)
        mine = SimpleNamespace(
            settings=settings, started=0.0, heartbeat=None, serve=lambda *args: app
        )
        monkeypatch.setattr(state.process, "worker", mine)
        self.worker = Worker(cfg or Config(), self.application)
        hooks.post_worker_init(self.worker)

    def application(self, environ, start_response):
        self.reached.append(environ)
        start_response("200 OK", [])
        return [b"the application's"]

    def get(self, environ):
        started = []
        body = b"".join(self.worker.wsgi(environ, lambda *args: started.append(args)))
        ((status, headers),) = started
        return status, dict(headers), body


def environ(**more):
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/_raindrops",
        "REMOTE_ADDR": "127.0.0.1",
        **more,
    }
