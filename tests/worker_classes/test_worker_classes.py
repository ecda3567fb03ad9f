"""The worker classes: which strategy counts each, and what it costs the others.

Workers are stand-ins that are named like Gunicorn's; the integration tests run real ones.
"""

import subprocess
import sys
import types
from types import SimpleNamespace

import pytest
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker

from gunicorn_raindrops.worker_classes import asgi, greenlets, strategy_for, threads, tornado

from ..bounds import WAIT


def named(module, name, *bases, **attributes):
    """Return a class as if it came from a module that need not be there."""
    made = types.new_class(name, bases)
    made.__module__ = module
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


Gevent = named(
    "gunicorn.workers.ggevent", "GeventWorker", AsyncWorker, server_class=None, wsgi_handler=None
)


@pytest.mark.parametrize(
    ("worker_class", "strategy"),
    [
        (SyncWorker, threads.Sync),
        (ThreadWorker, threads.Threads),
        (Gevent, greenlets.Greenlets),
        (named("mine", "Mine", Gevent), greenlets.Greenlets),
        (named("mine", "Mine", Gevent, server_class=object), greenlets.AroundWSGI),
        (named("gunicorn.workers.geventlet", "EventletWorker", AsyncWorker), greenlets.Greenlets),
        (named("gunicorn.workers.gtornado", "TornadoWorker"), tornado.Tornado),
        (named("gunicorn.workers.gasgi", "ASGIWorker"), asgi.AroundASGI),
        (named("uvicorn.workers", "UvicornWorker"), asgi.Uvicorn),
        (named("uvicorn_worker._workers", "UvicornWorker"), asgi.Uvicorn),
        (named("mine", "UvicornWorker"), None),
        (named("aiohttp.worker", "GunicornWebWorker"), None),
    ],
)
def test_strategies(worker_class, strategy):
    """A class is known by its name or that of a base; any other is not touched."""
    assert strategy_for(worker_class) is strategy
    if strategy is not None:
        assert strategy_for(named("others", "Sub", worker_class)) is strategy


@pytest.mark.parametrize(
    ("strategy", "capacity"),
    [
        (threads.Sync, 1),
        (threads.Threads, 4),
        (greenlets.Greenlets, 50),
        (greenlets.AroundWSGI, 50),
        (asgi.AroundASGI, 50),
        (asgi.Uvicorn, 50),
    ],
)
def test_capacity(strategy, capacity):
    """A thread, or a connection, is a place; uvicorn's own limit wins, where it is set."""
    cfg = SimpleNamespace(threads=4, worker_connections=50)
    config = SimpleNamespace(limit_concurrency=None)
    assert strategy.capacity(SimpleNamespace(cfg=cfg, config=config)) == capacity
    if strategy is asgi.Uvicorn:
        config.limit_concurrency = 7
        assert strategy.capacity(SimpleNamespace(cfg=cfg, config=config)) == 7


THREADS_ALONE = """
import sys
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker
from gunicorn_raindrops import hooks
from gunicorn_raindrops.worker_classes import strategy_for
assert strategy_for(SyncWorker) and strategy_for(ThreadWorker)
print(*sorted(name for name in sys.modules if name.startswith("gunicorn_raindrops.")))
"""


def test_threads_do_not_pay_for_the_others():
    """A worker with a thread per request has no module of the other strategies in memory."""
    command = [sys.executable, "-c", THREADS_ALONE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT)
    names = {name.removeprefix("gunicorn_raindrops.") for name in done.stdout.split()}
    assert {"worker_classes.base", "worker_classes.threads"} <= names
    others = {"worker_classes.greenlets", "worker_classes.asgi", "worker_classes.tornado"}
    assert not names & {*others, "counting.asgi", "counting.websocket", "counting.wsgi"}
