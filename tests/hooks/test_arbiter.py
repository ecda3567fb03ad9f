"""The hooks of the arbiter, where they should act, and where not."""

import logging
import os
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.workers.sync import SyncWorker

from gunicorn_raindrops import hooks
from gunicorn_raindrops.hooks import state

from .conftest import ARITY, Log, Worker


@pytest.mark.parametrize(
    ("keywords", "variables", "named"),
    [
        ({"bind": "nowhere"}, {}, "bind"),
        ({}, {"RAINDROPS_BIND": "nowhere"}, "RAINDROPS_BIND"),
        ({"max_workers": 0}, {}, "max_workers"),
        ({"bnid": ""}, {}, "bnid"),
        ({"token": "two words"}, {}, "token"),
    ],
)
def test_a_bad_setting_stops_the_start(monkeypatch, keywords, variables, named):
    """With one line that names it; install() itself does not raise, gunicorn would show its
    traceback. The pid file does not stay behind."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    namespace = {}
    hooks.install(namespace, **keywords)
    removed = []
    pidfile = SimpleNamespace(unlink=lambda: removed.append(True))
    with pytest.raises(RuntimeError, match=named) as caught:
        namespace["on_starting"](SimpleNamespace(pidfile=pidfile, log=logging.getLogger("test")))
    assert len(str(caught.value).splitlines()) == 1
    assert "two words" not in str(caught.value)
    assert removed == [True]


@pytest.mark.parametrize("name", ["when_ready", "on_reload", "pre_fork", "child_exit", "on_exit"])
def test_the_arbiters_hooks_act_in_the_arbiter_alone(monkeypatch, name):
    """A process that it has forked has a copy of what it holds, and leaves it alone."""

    class Foreign:
        pid = os.getppid()

    log, server = Log(), Worker(Config())
    server.log, server.worker_class, server.pid, server.LISTENERS = log, SyncWorker, 1, []
    server.reexec_pid = server.master_pid = 0
    monkeypatch.setattr(state.process, "arbiter", Foreign())
    getattr(hooks, name)(*[server] * ARITY.get(name, 1))
    assert log.lines == []


def test_child_exit_neither_raises_nor_logs(monkeypatch):
    """It may run in a signal handler, and its exception would end the arbiter; what fails is told
    later."""
    later = []

    def release(worker, end, pid_of):
        raise LookupError("broken")

    arbiter = SimpleNamespace(pid=os.getpid(), release=release, later=later.append)
    monkeypatch.setattr(state.process, "arbiter", arbiter)
    hooks.child_exit(SimpleNamespace(log=None), SimpleNamespace(pid=1, aborted=False))
    assert len(later) == 1
    assert "broken" in later[0]


def test_before_the_start():
    """Without on_starting (a worker's view of hooks that came with a HUP) nothing is done, and
    nothing raised."""
    log = Log()
    server = Worker(Config())
    server.log, server.worker_class, server.pid, server.LISTENERS = log, SyncWorker, 1, []
    server.reexec_pid = server.master_pid = 0
    for name in (
        "post_fork",
        "post_worker_init",
        "pre_exec",
        "on_exit",
        "child_exit",
    ):
        getattr(hooks, name)(*[server] * ARITY.get(name, 1))
    assert log.lines == []
