"""What is known of a process that counts alone, where functions of the servers are on the stack.
tests/integration/test_servers.py has the servers themselves."""

from __future__ import annotations

import multiprocessing
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from gunicorn_raindrops.after_fork import why_alone

WORKERS = [
    ("gunicorn.workers.base", "init_process"),
    ("gunicorn.workers.base_async", "handle"),
    ("gunicorn.workers.gthread", "handle"),
    ("uvicorn._subprocess", "subprocess_started"),
    ("hypercorn.asyncio.run", "asyncio_worker"),
    ("hypercorn.asyncio.run", "uvloop_worker"),
    ("hypercorn.trio.run", "trio_worker"),
]


def told_in(module: str, function: str, **local: Any) -> str | None:
    """Return what is said in a function of a server, with these variables."""
    server: dict[str, Any] = {"__name__": module, "why_alone": why_alone}
    code = f"def {function}({', '.join(local)}): return (lambda: why_alone())()"
    exec(code, server)
    found: str | None = server[function](**local)
    return found


@pytest.mark.parametrize(("module", "function"), WORKERS)
def test_in_a_worker(module: str, function: str) -> None:
    """It counts alone if there are others, and nothing is said of a single one."""

    def told(workers: int, **config: Any) -> str | None:
        cfg = SimpleNamespace(workers=workers, should_reload=False, **config)
        local = {"config": cfg}
        if module.startswith("gunicorn."):
            local = {"self": SimpleNamespace(cfg=cfg)}
        return told_in(module, function, **local)

    name = module.partition(".")[0]
    assert told(1) is None
    said = told(2)
    assert said is not None and said.startswith(f"made in a worker of {name}, ")


def test_uvicorns_reloader() -> None:
    """It has one process, whatever number is set."""
    config = SimpleNamespace(workers=4, should_reload=True)
    assert told_in("uvicorn._subprocess", "subprocess_started", config=config) is None


def test_a_server_of_another_version() -> None:
    """What its function has under other names is not known."""
    assert told_in("uvicorn._subprocess", "subprocess_started", settings=None) is None
    assert told_in("gunicorn.workers.base", "init_process", self=None) is None


@pytest.mark.parametrize(
    ("worker", "processes", "is_alone"), [(0, 2, False), (1, 1, False), (1, 2, True), (2, 2, True)]
)
def test_uwsgi(monkeypatch: Any, worker: int, processes: int, is_alone: bool) -> None:
    """Its master is worker 0, and so is what it loads for all."""
    uwsgi = SimpleNamespace(worker_id=lambda: worker, numproc=processes)
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    assert (why_alone() is not None) is is_alone


def test_a_module_of_this_name(monkeypatch: Any) -> None:
    """It is the application's own, which makes its middleware while it is imported."""
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace())
    assert why_alone() is None


def test_spawned(monkeypatch: Any) -> None:
    """By whatever it is, if that is no server that is known."""
    assert why_alone() is None
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    assert str(why_alone()).startswith("this process was spawned: ")
    assert told_in("uvicorn.main", "run") == why_alone()
