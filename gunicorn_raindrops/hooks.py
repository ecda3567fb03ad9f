"""The Gunicorn server hooks, and `install`: the only room that imports gunicorn.

In a gunicorn.conf.py without hooks of its own:

    from gunicorn_raindrops.hooks import *

In one that has some, as its last line:

    gunicorn_raindrops.hooks.install(globals(), bind="127.0.0.1:9180")

Theory of operation. In the arbiter, `on_starting` makes the scoreboard, `when_ready` opens the
status address, and `pre_fork` claims a slot for the worker to come. In the worker, `post_fork`
takes the slot over, and `post_worker_init` wraps the application and starts the status thread.
Then a request: `pre_request` begins it, the wrapper moves it from calling to writing when the
application's callable has returned, and `post_request` ends it. What each of the three does is
said by the worker's strategy (see `worker_classes`). When the worker ends, `worker_exit` counts
why. In the arbiter again, `child_exit` frees the slot.

All that a process holds is in `_process`: in the arbiter its `ArbiterSide`; in a worker, from
`post_fork` on, its `WorkerSide` and its strategy.

Any hook may run where or when it is not meant to. gunicorn runs `on_exit` in a worker that a
KeyboardInterrupt ends; a process that the arbiter has forked holds a copy of `_process`. So the
arbiter's hooks act only where the pid is the arbiter's. A conf that builds on another one may call
a hook twice; the second call changes nothing.

gunicorn catches nothing that a hook raises: an exception in `pre_fork` or `child_exit` would end
the arbiter, one in `pre_request` the request. So each hook that does more than count runs under
`_guard`, the one boundary where a failure becomes one logged warning.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TypeVar

import gunicorn
from gunicorn import arbiter as gunicorn_arbiter
from gunicorn.config import validate_callable, validate_post_request
from gunicorn.glogging import Logger

from . import __version__, settings, sharing, unpatched, wrapping
from .arbiter_side import ArbiterSide, defer_accept
from .counting import attached
from .counting.queue_header import QueueHeader
from .scoreboard import app_counters as user_counters
from .scoreboard import board as scoreboard
from .scoreboard import exits
from .scoreboard.claims import Ended
from .snapshot import Arbiter
from .worker_classes import strategy_for
from .worker_classes.base import Strategy, before, error_now
from .worker_classes.threads import Sync
from .worker_side import Push, WorkerSide

# What `import *` brings into a gunicorn.conf.py: there, any other name that is also one of
# gunicorn's settings would set it.
__all__ = [
    "child_exit",
    "nworkers_changed",
    "on_exit",
    "on_reload",
    "on_starting",
    "post_fork",
    "post_request",
    "post_worker_init",
    "pre_exec",
    "pre_fork",
    "pre_request",
    "when_ready",
    "worker_exit",
]

Hook = TypeVar("Hook", bound=Callable[..., Any])

HEARTBEAT = 1.0  # seconds
MOST_LATE = 100  # warnings that wait for a heartbeat

_keywords: dict[str, Any] = {}
"""The settings that `install` was given last; gunicorn runs a conf file again at each HUP."""
_given_for: list[Any] = [None]
"""The globals that they were given for."""


class _Process:
    """What this module keeps in one process, arbiter or worker; a fork copies it."""

    def __init__(self) -> None:
        self.arbiter: ArbiterSide | None = None
        """What the arbiter holds; None in a worker. See `_arbiter`."""
        self.server: Any = None
        """gunicorn's arbiter, once it has started."""
        self.worker: WorkerSide | None = None
        """What the worker holds; None in the arbiter."""
        self.strategy: Strategy = Sync()
        """How this worker's requests are counted."""
        self.is_wrapped = False
        """Whether this worker's application has been wrapped."""
        self.warned: set[str] = set()
        self.debugging = True
        self.aborted = False


_process = _Process()


def _warn(log: Any, message: str) -> None:
    if message not in _process.warned:
        _process.warned.add(message)
        log.warning("gunicorn-raindrops: %s", message)


def _guard(hook: Hook) -> Hook:
    """Make a failure of ours one warning, whatever it is; its traceback goes to the debug log."""

    @functools.wraps(hook)
    def guarded(server: Any, *args: Any) -> None:
        try:
            hook(server, *args)
        except Exception as error:
            _warn(server.log, f"{hook.__name__} failed: {type(error).__name__}: {error}")
            server.log.debug("%s", traceback.format_exc())

    return guarded  # type: ignore[return-value]


# In the arbiter.


def _arbiter() -> ArbiterSide | None:
    """Return what this process holds as the arbiter; None in any other process, even in one that
    has a copy of it."""
    arbiter = _process.arbiter
    return arbiter if arbiter is not None and arbiter.pid == os.getpid() else None


def _leave_in_child() -> None:
    """Leave the status address in a child of the arbiter that is no worker, as a helper that a
    user's hook forks: it would hold the address after the server's end, and answer nobody."""
    arbiter = _process.arbiter
    if arbiter is not None and arbiter.pid != os.getpid() and not _is_gunicorns_fork():
        arbiter.leave()


os.register_at_fork(after_in_child=_leave_in_child)


def _is_gunicorns_fork() -> bool:
    """Tell whether gunicorn forks a worker, or the next arbiter, which are to have the address."""
    stack = traceback.walk_stack(sys._getframe())
    return any(frame.f_code.co_name in ("spawn_worker", "reexec") for frame, _ in stack)


def on_starting(server: Any) -> None:
    """Make the scoreboard.

    Raises:
        RuntimeError: a setting is wrong. gunicorn prints it in one line and does not start.
    """
    if _process.server is server:
        return
    _forget_conf()
    try:
        chosen = settings.load(_keywords, os.environ)
        user_counters.check(chosen.counters)
    except ValueError as error:
        if server.pidfile is not None:
            server.pidfile.unlink()
        raise RuntimeError(f"gunicorn-raindrops: {error}") from None
    _start(server, chosen)
    _warn_of_replaced(server)


@_guard
def _start(server: Any, chosen: settings.Settings) -> None:
    _process.server = server
    _process.arbiter = ArbiterSide.start(
        chosen,
        functools.partial(_warn, server.log),
        functools.partial(server.log.warning, "gunicorn-raindrops: %s"),
        server.log.info,
        os.environ,
    )
    _process.arbiter.want(server.num_workers)
    for line in settings.unknown(os.environ):
        _warn(server.log, line)


def _start_late(server: Any, chosen: settings.Settings) -> None:
    """Start while the server runs: the hooks first appeared at a HUP."""
    _start(server, chosen)
    if _process.arbiter is not None:
        _process.arbiter.serves = _is_known(server)
        _process.arbiter.open()


@_guard
def _warn_of_replaced(server: Any) -> None:
    """Warn of hooks that gunicorn will not call: an agent has put its own on the Config class,
    where they hide the settings."""
    settings_ = server.cfg.settings
    names = [name for name in __all__ if getattr(server.cfg, name) is not settings_[name].get()]
    if names:
        _warn(
            server.log,
            f"{', '.join(names)}: replaced on gunicorn's Config class by other code; "
            "what our hooks of these names do is missing",
        )


@_guard
def on_reload(server: Any) -> None:
    """Take over what changed in the settings; wrong ones leave everything as it was."""
    _forget_conf()
    try:
        chosen = settings.load(_keywords, os.environ)
        user_counters.check(chosen.counters)
    except ValueError as error:
        server.log.warning("gunicorn-raindrops: %s; the settings stay as they were", error)
        return
    if _process.arbiter is None:
        _start_late(server, chosen)
    elif (arbiter := _arbiter()) is not None:
        _process.warned.clear()
        arbiter.serves = _is_known(server)
        arbiter.reload(chosen, alone=_is_alone(server))
    _warn_of_replaced(server)
    _warn_of_hidden_peers(server)
    _try_listeners(server)
    _share()


def _share() -> None:
    """Have the workers to come share what is in memory here."""
    arbiter = _arbiter()
    if arbiter is not None:
        arbiter.load()
        sharing.freeze()


def _forget_conf() -> None:
    """Have gunicorn execute the shipped config again at the next HUP. It imports it, which executes
    a module once."""
    sys.modules.pop(f"{__package__}.conf", None)


@_guard
def nworkers_changed(server: Any, new: int, old: int | None) -> None:
    """Tell the readers how many workers are wanted now. The first call is before `on_starting`."""
    arbiter = _arbiter()
    if arbiter is not None:
        arbiter.want(new)


def _is_alone(server: Any) -> bool:
    """Tell whether there is no other generation of this server (USR2)."""
    return bool(server.reexec_pid == server.master_pid == 0)


@_guard
def when_ready(server: Any) -> None:
    """Open the status address, and try the listeners once: a failure is warned of here, not by
    every worker anew."""
    arbiter = _arbiter()
    if arbiter is not None:
        arbiter.serves = _is_known(server)
        arbiter.open()
    _warn_of_hidden_peers(server)
    _try_listeners(server)
    _share()


def _is_known(server: Any) -> bool:
    """Tell whether the worker class is one of those that are known; warn if not."""
    if strategy_for(server.worker_class) is not None:
        return True
    _warn(
        server.log,
        f"requests are not counted with worker class {server.cfg.worker_class_str}, "
        "which is not one of those that are known; there is no status",
    )
    return False


def _warn_of_hidden_peers(server: Any) -> None:
    """Warn where `expose` is on and nothing is exposed."""
    arbiter = _arbiter()
    if arbiter is not None and arbiter.settings.expose:
        hiding = _hides_peers(server.cfg)
        if hiding is not None:
            _warn(server.log, f"expose: with {hiding} clients name themselves; nobody may read")


def _try_listeners(server: Any) -> None:
    arbiter = _arbiter()
    if arbiter is not None:
        identity = _identity(server.cfg, server.pid, arbiter.started)
        arbiter.try_listeners(identity, server.LISTENERS)
        arbiter.defer_accept(server.LISTENERS)


@_guard
def pre_fork(server: Any, worker: Any) -> None:
    """Claim a slot for a worker; free those whose workers went without `child_exit`."""
    if _process.arbiter is None:
        _start_late(server, settings.load(_keywords, os.environ))
    arbiter = _arbiter()
    if arbiter is not None:
        arbiter.claim(worker, lambda old: _end_of(old) if _is_gone(server, old) else None)


def _is_gone(server: Any, worker: Any) -> bool:
    """Tell whether a worker is no more.

    gunicorn forgets a worker when it reaps it. Before 24 it never forgets one that it has reaped
    before it registered it.
    """
    if not isinstance(worker.pid, int):  # it is being forked
        return False
    return server.WORKERS.get(worker.pid) is not worker or not scoreboard.lives(worker.pid)


def _end_of(worker: Any) -> Ended:
    """Return how a worker ended, unless it says so itself. gunicorn tells no hook the exit
    status."""
    return worker.pid, exits.TIMEOUT if worker.aborted else exits.KILLED


def child_exit(server: Any, worker: Any) -> None:
    """Free the slot of a worker that was reaped.

    Before gunicorn 24 this runs inside a signal handler: no lock, no logging.
    """
    arbiter = _arbiter()
    if arbiter is not None:
        try:
            arbiter.release(worker, _end_of(worker), _pid)
        except Exception as error:
            arbiter.later(f"child_exit failed: {type(error).__name__}: {error}")


def _pid(worker: Any) -> int | None:
    """Return a worker's pid; None while it is being forked."""
    return worker.pid if isinstance(worker.pid, int) else None


@_guard
def pre_exec(server: Any) -> None:
    """Hand scoreboard and status address on to the next arbiter (USR2), in the child of ours that
    is about to execute it."""
    arbiter = _process.arbiter
    if arbiter is not None and arbiter.pid == os.getppid():
        server.cfg.env_orig.update(arbiter.hand_over())


@_guard
def on_exit(server: Any) -> None:
    """Remove what this server has put into the file system."""
    arbiter = _arbiter()
    if arbiter is not None:
        arbiter.stop(alone=_is_alone(server))


def _identity(cfg: Any, pid: int, started: float) -> Arbiter:
    return Arbiter(pid, gunicorn.__version__, __version__, cfg.worker_class_str, started)


# In a worker.


@_guard
def post_fork(server: Any, worker: Any) -> None:
    """Take over the slot that the arbiter claimed, and watch for the worker's end."""
    arbiter, strategy = _process.arbiter, strategy_for(type(worker))
    if arbiter is None:
        return
    _process.arbiter, _process.worker = None, arbiter.worker_side(worker)
    _process.worker.take_over(worker.age, strategy.capacity(worker) if strategy else 0)
    if strategy:
        strategy.watch_exit(worker)
        _watch_abort(worker, strategy.abort)


def _watch_abort(worker: Any, name: str) -> None:
    """Keep what the worker was doing when SIGABRT comes: the arbiter's timeout, which kills it."""
    method = getattr(worker, name)

    @functools.wraps(method)
    def aborted(*args: Any) -> Any:
        _process.aborted = True
        _abort(worker, args)
        return method(*args)

    setattr(worker, name, aborted)


@_guard
def _abort(worker: Any, args: tuple[Any, ...]) -> None:
    frame = (
        args[1] if len(args) > 1 else None
    )  # a signal handler is given one, a loop's callback not
    if _process.worker is not None:
        thread = unpatched.original("_thread", "get_ident")()
        _process.worker.abort({} if frame is None else {thread: frame})


@_guard
def post_worker_init(worker: Any) -> None:
    """Start the status thread, and choose the strategy by which requests are counted."""
    if _process.is_wrapped:
        return
    _process.is_wrapped = True
    mine, strategy = _process.worker, strategy_for(type(worker))
    if mine is None or strategy is None:
        _process.strategy = Strategy()
        return
    if isinstance(worker.log, Logger):  # its level changes with a HUP, in new workers
        _process.debugging = worker.log.error_log.isEnabledFor(logging.DEBUG)
    identity = _identity(worker.cfg, worker.ppid, mine.started)
    warn, tell = _warner(worker)
    app = mine.serve(identity, worker.sockets, warn, _pusher(worker.cfg, warn))
    if mine.heartbeat is not None:
        before(worker, "notify", mine.heartbeat)
        worker.timeout = min(worker.timeout or HEARTBEAT, HEARTBEAT)  # how long sync waits at most
    exposes = mine.settings.expose and _hides_peers(worker.cfg) is None
    header = QueueHeader(worker.cfg.forwarded_allow_ips) if mine.settings.queue_header else None
    counting = _process.strategy = strategy(header)
    if not counting.has_hooks:
        _put_back(worker.cfg)
    counting.wrap(worker, app if exposes else None)
    counting.watch_signals(functools.partial(_leave, worker, None))
    mine.look_with(counting.finder(worker), tell)
    if worker.cfg.reuse_port and mine.settings.defer_accept:
        defer_accept(worker.sockets, True)  # the listeners are this worker's own
    attached.ready()


def _pusher(cfg: Any, warn: Callable[[str], None]) -> Push | None:
    """Return what sends snapshots where gunicorn's own statsd settings say; None for nowhere."""
    if cfg.statsd_host is None:
        return None
    from .exporters import statsd  # a worker without statsd does not pay for it

    return statsd.Pusher(cfg.statsd_host, cfg.statsd_prefix, cfg.dogstatsd_tags, warn).push


@_guard
def worker_exit(server: Any, worker: Any) -> None:
    """Count why this worker ends.

    Other processes call this, too: before gunicorn 24 the arbiter, for a worker that it finds
    gone, and in any version a child that the application has forked.
    """
    _leave(worker, error_now())


def _leave(worker: Any, error: BaseException | None) -> None:
    cause = _cause(worker, error)
    if _process.worker is not None and worker.pid == os.getpid() and cause is not None:
        _process.worker.leave(cause)


def _cause(worker: Any, error: BaseException | None) -> str | None:
    """Return why a worker ends, given the error that ends it; None if only its arbiter knows."""
    if _process.aborted:
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
    warn = functools.partial(_warn, worker.log)
    tell = functools.partial(worker.log.warning, "gunicorn-raindrops: %s")
    if not unpatched.is_patched():
        return warn, tell
    late: collections.deque[tuple[Any, str]] = collections.deque(maxlen=MOST_LATE)

    def say() -> None:
        while late:
            how, message = late.popleft()
            how(message)

    before(worker, "notify", say)
    return lambda message: late.append((warn, message)), lambda message: late.append(
        (tell, message)
    )


def _put_back(cfg: Any) -> None:
    """Put gunicorn's own request hooks back where ours have nothing to do: with others its asgi
    worker does more for each request, and waits longer for its end."""
    for name in ("pre_request", "post_request"):
        setting = cfg.settings[name]
        if setting.get() is globals()[name]:
            setting.set(setting.default)


def _hides_peers(cfg: Any) -> str | None:
    """Return the setting by which clients may choose their addresses; None: there is none.

    By a PROXY line, which gunicorn forgets after the first request of a connection; or by the
    variables of the uwsgi protocol, whose client is a proxy (gunicorn 24 and later).
    """
    if cfg.proxy_protocol not in (False, "off"):  # before 25 it is a switch
        return "proxy_protocol"
    speaks_uwsgi = "protocol" in cfg.settings and cfg.protocol == "uwsgi"
    return "the uwsgi protocol" if speaks_uwsgi else None


# The request.


def pre_request(worker: Any, req: Any) -> None:
    """Begin a request. gunicorn's own hook, which this one replaces, logs it."""
    _process.strategy.begin(req)
    if _process.debugging:
        worker.log.debug("%s %s", req.method, req.path)


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    """End a request."""
    _process.strategy.end(worker, resp, error_now())


# Beside a user's own hooks.


def install(namespace: MutableMapping[str, Any], **keywords: Any) -> None:
    """Put the hooks into a gunicorn.conf.py, around those that it has.

        install(globals(), bind="127.0.0.1:9180", listeners=["/run/nginx.sock"])

    Must be called after the conf's own hooks are defined, as its last line. A second call changes
    nothing; where one conf builds on another, hooks that are ours already are not wrapped again,
    and the keywords of the last one hold. A request that ours began is ended, whatever a user's
    hook raises. A wrong setting stops gunicorn when it starts, with a line that names it.

    Args:
        namespace: the conf's globals().
        keywords: the settings (docs/settings.md). Each wins over its RAINDROPS_* variable.
    """
    if namespace is not _given_for[0]:
        _take(namespace, keywords)
    _put_into(namespace)


def include(namespace: MutableMapping[str, Any], read: Callable[[], Mapping[str, Any]]) -> None:
    """Put another conf's settings and hooks into one, and ours around them. The keywords hold that
    the other one has called `install` with.

    Args:
        namespace: the conf's globals().
        read: executes the other one and returns its globals.
    """
    _take(None, {})
    namespace.update(read())
    _put_into(namespace)


def _take(namespace: Any, keywords: dict[str, Any]) -> None:
    _given_for[0] = namespace
    _keywords.clear()
    _keywords.update(keywords)


def _put_into(namespace: MutableMapping[str, Any]) -> None:
    if _is_only_checked(namespace):
        _check_settings()
    for name in __all__:
        ours = globals()[name]
        theirs = namespace.get(name, ours)
        with contextlib.suppress(TypeError):  # gunicorn refuses it, and says so
            namespace[name] = wrapping.around(name, ours, _checked(name, theirs), _process)


def _is_only_checked(namespace: Mapping[str, Any]) -> bool:
    """Tell whether gunicorn ends when it has read the conf, without running a hook."""
    given = (*sys.argv, *os.environ.get("GUNICORN_CMD_ARGS", "").split())
    return "--check-config" in given or namespace.get("check_config") is True


def _check_settings() -> None:
    """End this process where a setting is wrong, in the way and with the words that `on_starting`
    has gunicorn do it. Counters are not tried: the application's folder may not be known yet."""
    try:
        settings.load(_keywords, os.environ)
    except ValueError as error:
        print(f"\nError: gunicorn-raindrops: {error}\n", file=sys.stderr)
        sys.exit(1)


def _checked(name: str, hook: Any) -> Any:
    """Return a hook as gunicorn will call it.

    Raises:
        TypeError: gunicorn refuses it.
    """
    if name == "post_request":
        return validate_post_request(hook)
    return validate_callable(wrapping.ARITIES.get(name, 1))(hook)


for _hook in __all__:
    wrapping.mark(globals()[_hook])
