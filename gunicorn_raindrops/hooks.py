"""The Gunicorn server hooks: the only room that knows gunicorn's objects.

In a gunicorn.conf.py without hooks of its own:

    from gunicorn_raindrops.hooks import *

In one that has some, as its last line:

    gunicorn_raindrops.hooks.install(globals(), bind="127.0.0.1:9180")

Theory of operation. In the arbiter, `on_starting` makes the scoreboard and opens the status
address, and `pre_fork` claims a slot for the worker to come. In the worker, `post_fork` takes the
slot over, `post_worker_init` wraps the application and starts the status thread. Then, a request:
`pre_request` begins it, the wrapper turns calling into writing when the application's callable
has returned, `post_request` ends it. On its way out `worker_exit` says why it goes. In the
arbiter again, `child_exit` frees the slot.

gunicorn calls none of this under guard: an exception in `pre_fork` or `child_exit` would end the
arbiter, one in `pre_request` the request. So each hook that does more than count runs under
`_guard`, the one boundary where a failure becomes one logged warning.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import ipaddress
import logging
import os
import socket
import ssl
import sys
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

import gunicorn
from gunicorn.config import validate_callable, validate_post_request
from gunicorn.glogging import Logger
from gunicorn.workers.sync import SyncWorker

from . import __version__, exits, queue_header, scoreboard, settings
from .runtime import Ended, Runtime
from .snapshot import Arbiter
from .status import StatusApp

# What `import *` brings into a gunicorn.conf.py: there, any other name that is also one of
# gunicorn's settings would set it.
__all__ = [
    "child_exit",
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

_CLIENT_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN}
_INSTALLED = "_gunicorn_raindrops"

_keywords: dict[str, Any] = {}
"""The settings that `install` was given last; gunicorn runs a conf file again at each HUP."""


class _Process:
    """What this module keeps in one process, arbiter or worker; a fork copies it."""

    def __init__(self) -> None:
        self.runtime: Runtime | None = None
        self.warned: set[str] = set()
        self.debugging = True
        self.aborted = False
        self.trusts: Callable[[Any], bool] | None = None
        """Whose headers may say how long a request has waited; None: nobody's are read."""


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


def on_starting(server: Any) -> None:
    """Make the scoreboard and open the status address.

    Raises:
        RuntimeError: a setting is wrong. gunicorn prints it in one line and does not start.
    """
    try:
        chosen = settings.load(_keywords, os.environ)
    except ValueError as error:
        if server.pidfile is not None:
            server.pidfile.unlink()
        raise RuntimeError(f"gunicorn-raindrops: {error}") from None
    _start(server, chosen)


@_guard
def _start(server: Any, chosen: settings.Settings) -> None:
    _process.runtime = Runtime.start(
        chosen,
        functools.partial(_warn, server.log),
        functools.partial(server.log.warning, "gunicorn-raindrops: %s"),
        server.log.info,
        os.environ,
    )


@_guard
def on_reload(server: Any) -> None:
    """Take over what changed in the settings; wrong ones leave everything as it was."""
    try:
        chosen = settings.load(_keywords, os.environ)
    except ValueError as error:
        server.log.warning("gunicorn-raindrops: %s; the settings stay as they were", error)
        return
    if _process.runtime is None:
        _start(server, chosen)
    else:
        _process.warned.clear()
        _process.runtime.reload(chosen, alone=_is_alone(server))
    _try_listeners(server)


def _is_alone(server: Any) -> bool:
    """Tell whether there is no other generation of this server (USR2)."""
    return bool(server.reexec_pid == server.master_pid == 0)


@_guard
def when_ready(server: Any) -> None:
    """Try the listeners once: a failure is warned of here, not by every worker anew."""
    if not _counts(server.worker_class):
        _warn(
            server.log,
            f"requests are not counted with worker class {server.cfg.worker_class_str}, "
            "only with sync and gthread",
        )
    exposes = _process.runtime is not None and _process.runtime.settings.expose
    if exposes and _hides_peers(server.cfg):
        _warn(server.log, "expose: with proxy_protocol clients name themselves; nobody may read")
    _try_listeners(server)


def _try_listeners(server: Any) -> None:
    runtime = _process.runtime
    if runtime is not None:
        arbiter = _identity(server.cfg, server.pid, runtime.started)
        runtime.try_listeners(arbiter, server.LISTENERS)
        runtime.defer_accept(server.LISTENERS)


@_guard
def pre_fork(server: Any, worker: Any) -> None:
    """Claim a slot for a worker; free those whose workers went without `child_exit`."""
    if _process.runtime is None:  # these hooks first appeared at a HUP
        _start(server, settings.load(_keywords, os.environ))
    if _process.runtime is not None:
        _process.runtime.claim(worker, lambda old: _end_of(old) if _is_gone(server, old) else None)


def _is_gone(server: Any, worker: Any) -> bool:
    """Tell whether a worker is no more.

    gunicorn forgets it when it was reaped; before 24 it never does where that was before the
    worker was registered.
    """
    if not isinstance(worker.pid, int):  # it is being forked
        return False
    return server.WORKERS.get(worker.pid) is not worker or not scoreboard.lives(worker.pid)


def _end_of(worker: Any) -> Ended:
    """How a worker ended that did not say so itself. gunicorn tells no hook its exit status."""
    return worker.pid, exits.TIMEOUT if worker.aborted else exits.KILLED


def child_exit(server: Any, worker: Any) -> None:
    """Free the slot of a worker that was reaped.

    Before gunicorn 24 this runs inside a signal handler: no lock, no logging.
    """
    runtime = _process.runtime
    if runtime is not None:
        try:
            runtime.release(worker, _end_of(worker))
        except Exception as error:
            runtime.later(f"child_exit failed: {type(error).__name__}: {error}")


@_guard
def pre_exec(server: Any) -> None:
    """Hand scoreboard and status address on to the next arbiter (USR2)."""
    if _process.runtime is not None:
        server.cfg.env_orig.update(_process.runtime.bequeath())


@_guard
def on_exit(server: Any) -> None:
    """Remove what this server has put into the file system."""
    if _process.runtime is not None:
        _process.runtime.stop(alone=_is_alone(server))


def _identity(cfg: Any, pid: int, started: float) -> Arbiter:
    return Arbiter(pid, gunicorn.__version__, __version__, cfg.worker_class_str, started)


# In a worker.


def _counts(worker_class: type) -> bool:
    """Tell whether these workers run a request in one thread from pre_request to post_request."""
    return issubclass(worker_class, SyncWorker) or _is_threaded(worker_class)


def _is_threaded(worker_class: type) -> bool:
    # Not imported here: it brings more along than all of ours, and most servers run without it.
    gthread = sys.modules.get("gunicorn.workers.gthread")
    return gthread is not None and issubclass(worker_class, gthread.ThreadWorker)


def _capacity(worker: Any) -> int:
    """How many requests a worker can run at once."""
    return int(worker.cfg.threads) if _is_threaded(type(worker)) else 1


@_guard
def post_fork(server: Any, worker: Any) -> None:
    """Take over the slot that the arbiter claimed, and see the end coming: on SIGTERM a worker
    finishes what it has, on SIGABRT, the arbiter's timeout, it drops that."""
    runtime = _process.runtime
    if runtime is None:
        return
    if not runtime.take(worker, worker.age, _capacity(worker)) or not _counts(type(worker)):
        return
    handle_exit = worker.handle_exit

    def finishing(sig: int, frame: Any) -> None:
        scoreboard.finishing()
        handle_exit(sig, frame)

    worker.handle_exit = finishing
    handle_abort = worker.handle_abort

    def aborting(sig: int, frame: Any) -> None:
        _process.aborted = True
        scoreboard.keep_current()
        handle_abort(sig, frame)

    worker.handle_abort = aborting


@_guard
def post_worker_init(worker: Any) -> None:
    """Wrap the application and start the status thread."""
    runtime = _process.runtime
    if runtime is None or not _counts(type(worker)):
        return
    if isinstance(worker.log, Logger):  # its level changes with a HUP, in new workers
        _process.debugging = worker.log.error_log.isEnabledFor(logging.DEBUG)
    arbiter = _identity(worker.cfg, worker.ppid, runtime.started)
    app = runtime.serve(arbiter, worker.sockets, functools.partial(_warn, worker.log))
    worker.wsgi = _counted(worker.wsgi)
    if app is not None and runtime.settings.expose and not _hides_peers(worker.cfg):
        worker.wsgi = _exposed(worker.wsgi, app)
    if worker.cfg.reuse_port:  # the listeners are this worker's own
        runtime.defer_accept(worker.sockets)
    if runtime.settings.queue_header:
        _process.trusts = _trusts(worker.cfg)
    scoreboard.ready()


def _trusts(cfg: Any) -> Callable[[Any], bool]:
    """Return what tells whether a peer is one whose forwarding headers gunicorn believes."""
    allowed = [str(item) for item in cfg.forwarded_allow_ips]
    networks = []
    for item in allowed:
        with contextlib.suppress(ValueError):  # *, or a name: before 24 anything may stand there
            networks.append(ipaddress.ip_network(item, strict=False))

    @functools.lru_cache(256)
    def is_allowed(host: str) -> bool:
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(host)
            return any(address in network for network in networks)
        return False

    def trusts(peer: Any) -> bool:
        return not isinstance(peer, tuple) or "*" in allowed or is_allowed(peer[0])

    return trusts


@_guard
def worker_exit(server: Any, worker: Any) -> None:
    """Count why this worker ends. Before gunicorn 24 the arbiter calls this, too, for a worker
    that it finds gone, and a process that the application has forked may always."""
    cause = _cause(worker, _error())
    if _process.runtime is not None and worker.pid == os.getpid() and cause is not None:
        _process.runtime.leave(cause)


def _cause(worker: Any, error: BaseException | None) -> str | None:
    """Return why a worker ends whose `error` ends it; None if that is the arbiter's to say."""
    if _process.aborted:
        return None
    code = error.code if isinstance(error, SystemExit) else error
    if not code:
        return exits.MAX_REQUESTS if worker.nr >= worker.max_requests else exits.GRACEFUL
    return exits.FAILED if worker.booted else exits.BOOT_FAILURE


def _counted(application: Callable[..., Any]) -> Callable[..., Any]:
    respond = scoreboard.respond

    def counted(environ: Any, start_response: Any) -> Any:
        iterable = application(environ, start_response)
        respond()
        return iterable

    return counted


def _hides_peers(cfg: Any) -> bool:
    """Tell whether clients may name themselves: by a PROXY line, which gunicorn forgets after the
    first request of a connection."""
    return cfg.proxy_protocol not in (False, "off")  # before 25 it is a switch


def _as_it_came(environ: Any) -> Any:
    """Return an environ without the name of a unix peer, who may have chosen any, also one that
    reads like an address."""
    sock = environ.get("gunicorn.socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return environ
    return {**environ, "REMOTE_ADDR": ""}


def _exposed(application: Callable[..., Any], app: StatusApp) -> Callable[..., Any]:
    def exposed(environ: Any, start_response: Any) -> Any:
        if not (app.serves(environ["PATH_INFO"]) and app.exposes_to(_as_it_came(environ))):
            return application(environ, start_response)
        scoreboard.cancel()  # no request of the application's
        answer = app.exposed(environ)
        start_response(answer.status_line, answer.all_headers())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    return exposed


# The request.

_begin = scoreboard.begin
_END = scoreboard.END

if sys.version_info >= (3, 11):
    _error = sys.exception
else:

    def _error() -> BaseException | None:
        return sys.exc_info()[1]


def pre_request(worker: Any, req: Any) -> None:
    """Begin a request. gunicorn's own hook, which this one replaces, logs it."""
    _begin_(worker, req)
    if _process.debugging:
        worker.log.debug("%s %s", req.method, req.path)


def _begin_(worker: Any, req: Any) -> None:
    try:
        # What a connection's later requests have waited the kernel does not know.
        fd = req.unreader.sock.fileno() if req.req_number == 1 else -1
    except AttributeError:  # HTTP/2
        fd = -1
    _begin(req.method, req.path, fd)
    if _process.trusts is not None and _process.trusts(req.peer_addr):
        queue_header.record(req.headers)


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    """End a request."""
    _end(worker, resp, _error())


def _end(worker: Any, resp: Any, error: BaseException | None) -> None:
    if error is None and worker.alive:
        try:
            return _END[resp.status[0]]()
        except (AttributeError, IndexError, KeyError, TypeError):
            pass  # no response, or a strange status
    return _end_specially(worker, resp, error)


def _end_specially(worker: Any, resp: Any, error: BaseException | None) -> None:
    """End a request that failed, or was the last one, or never came to the application.

    gunicorn calls post_request while the request's exception passes by. An application that
    raises before its first byte leaves a status that is None, or one that was never sent: the
    client got a 500. If it is the client that went, the status stands as it was meant.
    """
    if not worker.alive:
        scoreboard.finishing()
    if resp is None:
        scoreboard.cancel()
        return
    gone = isinstance(error, ssl.SSLError) or (
        isinstance(error, OSError) and error.errno in _CLIENT_GONE
    )
    if error is not None and not gone:
        scoreboard.fail()
    sent = resp.headers_sent or error is None or gone
    status = str(resp.status) if sent and resp.status else "500"
    _END.get(status[0], scoreboard.end_other)()


# Beside a user's own hooks.


def install(namespace: MutableMapping[str, Any], **keywords: Any) -> None:
    """Put the hooks into a gunicorn.conf.py, around those that it has.

        install(globals(), bind="127.0.0.1:9180", listeners=["/run/nginx.sock"])

    Must be called after the conf's own hooks are defined, as its last line. A second call changes
    nothing. Whatever a user's hook raises, what ours began is ended. A setting that is wrong is
    told when gunicorn starts, and stops it.

    Args:
        namespace: the conf's globals().
        keywords: the settings, see the README; each wins over its RAINDROPS_* variable.
    """
    if _INSTALLED in namespace:
        return
    namespace[_INSTALLED] = True
    _keywords.clear()
    _keywords.update(keywords)
    for name in __all__:
        ours = globals()[name]
        theirs = namespace.get(name, ours)
        namespace[name] = ours if theirs is ours else _around(name, ours, theirs)


def _around(name: str, ours: Callable[..., Any], theirs: Any) -> Any:
    """Return a hook that runs both; gunicorn is left to complain of one that it would refuse."""
    try:
        if name == "post_request":
            return _around_post_request(validate_post_request(theirs))
        theirs = validate_callable(_ARITIES.get(name, 1))(theirs)
    except TypeError:
        return theirs
    if name == "pre_request":
        return _pair(_begin_, theirs)  # it replaces gunicorn's log line
    if name == "post_worker_init":  # what theirs puts around the application, ours goes around
        return _single(theirs, ours)
    return _pair(ours, theirs) if name in _ARITIES else _single(ours, theirs)


_ARITIES = {"pre_fork": 2, "post_fork": 2, "pre_request": 2, "child_exit": 2, "worker_exit": 2}


def _around_post_request(theirs: Callable[..., Any]) -> Callable[..., Any]:
    def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
        error = _error()
        try:
            theirs(worker, req, environ, resp)
        finally:
            _end(worker, resp, error)

    return post_request


def _single(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    def both(server: Any) -> None:
        first(server)
        second(server)

    return both


def _pair(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    def both(server: Any, other: Any) -> None:
        first(server, other)
        second(server, other)

    return both
