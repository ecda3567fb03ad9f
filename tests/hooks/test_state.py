"""The boundary that the hooks run behind."""

import pytest
from gunicorn.config import Config
from gunicorn.workers.sync import SyncWorker

from gunicorn_raindrops import hooks
from gunicorn_raindrops.hooks import state

from .conftest import ARITY, Log, Worker


@pytest.mark.parametrize(
    "name", ["when_ready", "pre_fork", "post_fork", "post_worker_init", "pre_exec"]
)
def test_a_failure_is_one_warning(monkeypatch, name):
    """Whatever fails in a hook, gunicorn goes on; it is told once."""

    class Broken:
        def __getattr__(self, attribute):
            raise LookupError("broken")

    log = Log()
    monkeypatch.setattr(state.process, "worker", Broken())
    server = Worker(Config())
    server.log, server.worker_class, server.pid, server.LISTENERS = log, SyncWorker, 1, []
    for _ in range(3):
        monkeypatch.setattr(state.process, "arbiter", Broken())
        getattr(hooks, name)(*[server] * ARITY.get(name, 1))
    assert len(log.lines) == 1
    assert "broken" in log.lines[0]
