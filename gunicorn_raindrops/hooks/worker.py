"""The hooks that gunicorn calls in a worker, and for each request."""

from __future__ import annotations

import collections
import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from gunicorn import arbiter as gunicorn_arbiter
from gunicorn.glogging import Logger

from .. import unpatched
from ..counting import attached
from ..counting.queue_header import QueueHeader
from ..listeners import tcp_info
from ..scoreboard import exits
from ..worker_classes import strategy_for
from ..worker_classes.base import Strategy, before, error_now
from . import cfg, replaced
from .state import guard, process, warn

HEARTBEAT = 1.0  # seconds
MOST_LATE = 100  # warnings that wait for a heartbeat


@guard
def post_fork(server: Any, worker: Any) -> None:
    """Take over the slot that the arbiter claimed, and watch for the worker's end."""
    _enter(worker)


def _enter(worker: Any) -> None:
    arbiter, strategy = process.arbiter, strategy_for(type(worker))
    if arbiter is None:
        return
    process.arbiter, process.worker = None, arbiter.worker_side(worker)
    process.worker.take_over(worker.age, strategy.capacity(worker) if strategy else 0)
    if strategy:
        strategy.watch_exit(worker)
        _watch_abort(worker, strategy.abort)


def _watch_abort(worker: Any, name: str) -> None:
    """Keep what the worker was doing when SIGABRT comes: the arbiter's timeout, which kills it."""
    method = getattr(worker, name)

    @functools.wraps(method)
    def aborted(*args: Any) -> Any:
        process.aborted = True
        _abort(worker, args)
        return method(*args)

    setattr(worker, name, aborted)


@guard
def _abort(worker: Any, args: tuple[Any, ...]) -> None:
    frame = (
        args[1] if len(args) > 1 else None
    )  # a signal handler is given one, a loop's callback not
    if process.worker is not None:
        thread = unpatched.original("_thread", "get_ident")()
        process.worker.abort({} if frame is None else {thread: frame})


@guard
def post_worker_init(worker: Any) -> None:
    """Start the status thread, and choose the strategy by which requests are counted."""
    if process.is_wrapped:
        return
    process.is_wrapped = True
    _enter(worker)  # unless `post_fork` has: other code may have replaced it
    mine, strategy = process.worker, strategy_for(type(worker))
    if mine is None or strategy is None:
        process.strategy = Strategy()
        return
    if isinstance(worker.log, Logger):  # its level changes with a HUP, in new workers
        process.debugging = worker.log.error_log.isEnabledFor(logging.DEBUG)
    identity = cfg.identity(worker.cfg, worker.ppid, mine.started)
    warn, tell = _warner(worker)
    app = mine.serve(identity, worker.sockets, warn, cfg.pusher(worker.cfg, warn))
    if mine.heartbeat is not None:
        before(worker, "notify", mine.heartbeat)
        worker.timeout = min(worker.timeout or HEARTBEAT, HEARTBEAT)  # how long sync waits at most
    exposes = mine.settings.expose and cfg.hides_peers(worker.cfg) is None
    header = QueueHeader(worker.cfg.forwarded_allow_ips) if mine.settings.queue_header else None
    counting = strategy(header)
    # without one of the two, all that is begun would be in flight for ever
    pair = replaced.is_called(worker.cfg, "pre_request", "post_request")
    process.strategy = counting if pair else Strategy()
    if not counting.has_hooks:
        _put_back(worker.cfg)
    counting.wrap(worker, app if exposes else None)
    counting.watch_signals(functools.partial(_leave, worker, None))
    mine.look_with(counting.finder(worker), tell)
    if worker.cfg.reuse_port and mine.settings.defer_accept:
        tcp_info.defer_accept(worker.sockets, True)  # the listeners are this worker's own
    attached.ready()


@guard
def worker_exit(server: Any, worker: Any) -> None:
    """Count why this worker ends.

    Other processes call this, too: before gunicorn 24 the arbiter, for a worker that it finds
    gone, and in any version a child that the application has forked.
    """
    _leave(worker, error_now())


def _leave(worker: Any, error: BaseException | None) -> None:
    cause = _cause(worker, error)
    if process.worker is not None and worker.pid == os.getpid() and cause is not None:
        process.worker.leave(cause)


def _cause(worker: Any, error: BaseException | None) -> str | None:
    """Return why a worker ends, given the error that ends it; None if only its arbiter knows."""
    if process.aborted:
        return None
    code = error.code if isinstance(error, SystemExit) else error
    if not code:
        return exits.MAX_REQUESTS if worker.nr >= worker.max_requests else exits.GRACEFUL
    # gunicorn's asgi and uvicorn's workers run the lifespan's start after they are marked booted
    return exits.FAILED if worker.booted and code not in _NOT_BOOTED else exits.BOOT_FAILURE


_NOT_BOOTED = (gunicorn_arbiter.Arbiter.WORKER_BOOT_ERROR, gunicorn_arbiter.Arbiter.APP_LOAD_ERROR)


def _warner(worker: Any) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """Return what the status thread warns with: of each failure once, and each time.

    Where gevent or eventlet has patched logging's locks, that thread must not touch them. The
    worker then logs for it, at its next heartbeat.
    """
    once = functools.partial(warn, worker.log)
    tell = functools.partial(worker.log.warning, "gunicorn-raindrops: %s")
    if not unpatched.is_patched():
        return once, tell
    late: collections.deque[tuple[Any, str]] = collections.deque(maxlen=MOST_LATE)

    def say() -> None:
        while late:
            how, message = late.popleft()
            how(message)

    before(worker, "notify", say)
    return lambda message: late.append((once, message)), lambda message: late.append(
        (tell, message)
    )


def _put_back(cfg: Any) -> None:
    """Put gunicorn's own request hooks back where ours have nothing to do: with others its asgi
    worker does more for each request, and waits longer for its end."""
    for name in ("pre_request", "post_request"):
        setting = cfg.settings[name]
        if setting.get() is globals()[name]:
            setting.set(setting.default)


# The request.


def pre_request(worker: Any, req: Any) -> None:
    """Begin a request. gunicorn's own hook, which this one replaces, logs it."""
    process.strategy.begin(req)
    if process.debugging:
        worker.log.debug("%s %s", req.method, req.path)


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    """End a request."""
    process.strategy.end(worker, resp, error_now())
