"""The hooks that gunicorn calls in the arbiter.

Any of them may run where it is not meant to. gunicorn runs `on_exit` in a worker that a
KeyboardInterrupt ends; a process that the arbiter has forked holds a copy of all of its memory. So
they act only where the pid is the arbiter's.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from typing import Any

from .. import settings, sharing, wrapping
from .._native._scoreboard import lib
from ..arbiter_side import ArbiterSide
from ..scoreboard import app_counters as user_counters
from ..scoreboard import board as scoreboard
from ..scoreboard import exits
from ..scoreboard.claims import Ended
from ..worker_classes import strategy_for
from . import cfg, replaced
from .state import guard, keywords, process, warn

_CONF = __name__.partition(".")[0] + ".conf"


def mine() -> ArbiterSide | None:
    """Return what this process holds as the arbiter; None in any other process, even in one that
    has a copy of it."""
    arbiter = process.arbiter
    return arbiter if arbiter is not None and arbiter.pid == os.getpid() else None


def _before_fork() -> None:
    """Share the status listener and the scoreboard's descriptor with a worker, and with the next
    arbiter. Any other child would hold the address after the server's end, and answer nobody."""
    if mine() is not None:
        lib.grd_share_with_child(_is_gunicorns_fork())


def _after_fork() -> None:
    lib.grd_share_with_child(False)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)


def _is_gunicorns_fork() -> bool:
    """Tell whether gunicorn forks a worker, or the next arbiter, which are to have the address. It
    calls hooks of the user's on its way there, and these may fork as well."""
    pre_fork = getattr(process.server.cfg.pre_fork, "__code__", None)
    for frame, _ in traceback.walk_stack(sys._getframe()):
        if frame.f_code is pre_fork or wrapping.is_around_hooks(frame.f_code):
            return False
        if frame.f_code.co_name in ("spawn_worker", "reexec"):
            return True
    return False


def on_starting(server: Any) -> None:
    """Make the scoreboard.

    Raises:
        RuntimeError: a setting is wrong. gunicorn prints it in one line and does not start.
    """
    if process.server is server:
        return
    _forget_conf()
    try:
        chosen = settings.load(keywords, os.environ)
        user_counters.check(chosen.counters)
    except ValueError as error:
        if server.pidfile is not None:
            server.pidfile.unlink()
        raise RuntimeError(f"gunicorn-raindrops: {error}") from None
    _start(server, chosen)
    _warn_of_replaced(server)


@guard
def _start(server: Any, chosen: settings.Settings) -> None:
    process.server = server
    process.arbiter = ArbiterSide.start(
        chosen,
        functools.partial(warn, server.log),
        functools.partial(server.log.warning, "gunicorn-raindrops: %s"),
        server.log.info,
        os.environ,
    )
    process.arbiter.want(server.num_workers)
    for line in settings.unknown(os.environ):
        warn(server.log, line)


def _start_late(server: Any, chosen: settings.Settings) -> None:
    """Start while the server runs: the hooks first appeared at a HUP, or our `on_starting` was
    replaced."""
    _start(server, chosen)
    _warn_of_replaced(server)
    if process.arbiter is not None:
        process.arbiter.serves = _is_served(server)
        process.arbiter.open()


@guard
def _warn_of_replaced(server: Any) -> None:
    """Warn of hooks that gunicorn will not call, since other code has replaced them."""
    strategy = strategy_for(server.worker_class)
    _warn_of(
        server,
        replaced.on_class(server.cfg),
        "replaced on gunicorn's Config class by other code",
        "",
    )
    _warn_of(
        server,
        replaced.in_conf(server.cfg, has_hooks=strategy is not None and strategy.has_hooks),
        "the conf defines its own after ours",
        "; call gunicorn_raindrops.hooks.install(globals()) in its last line",
    )


def _warn_of(server: Any, names: list[str], why: str, advice: str) -> None:
    if names:
        missing = "what our hooks of these names do is missing"
        warn(server.log, f"{', '.join(names)}: {why}; {missing}{advice}")


@guard
def on_reload(server: Any) -> None:
    """Take over what changed in the settings; wrong ones leave everything as it was."""
    _forget_conf()
    try:
        chosen = settings.load(keywords, os.environ)
        user_counters.check(chosen.counters)
    except ValueError as error:
        server.log.warning("gunicorn-raindrops: %s; the settings stay as they were", error)
        return
    if process.arbiter is None:
        _start_late(server, chosen)
    elif (arbiter := mine()) is not None:
        process.warned.clear()
        arbiter.serves = _is_served(server)
        arbiter.reload(chosen, alone=_is_alone(server))
        _warn_of_replaced(server)
    _warn_of_hidden_peers(server)
    _try_listeners(server)
    _share()


def _share() -> None:
    """Have the workers to come share what is in memory here."""
    arbiter = mine()
    if arbiter is not None:
        arbiter.load()
        sharing.freeze()


def _forget_conf() -> None:
    """Have gunicorn execute the shipped config again at the next HUP. It imports it, which executes
    a module once."""
    sys.modules.pop(_CONF, None)


@guard
def nworkers_changed(server: Any, new: int, old: int | None) -> None:
    """Tell the readers how many workers are wanted now. The first call is before `on_starting`."""
    arbiter = mine()
    if arbiter is not None:
        arbiter.want(new)


def _is_alone(server: Any) -> bool:
    """Tell whether there is no other generation of this server (USR2)."""
    return bool(server.reexec_pid == server.master_pid == 0)


@guard
def when_ready(server: Any) -> None:
    """Open the status address, and try the listeners once: a failure is warned of here, not by
    every worker anew."""
    if process.arbiter is None:
        _start_late(server, settings.load(keywords, os.environ))
    arbiter = mine()
    if arbiter is not None:
        arbiter.serves = _is_served(server)
        arbiter.open()
    _warn_of_hidden_peers(server)
    _try_listeners(server)
    _share()


def _is_served(server: Any) -> bool:
    """Tell whether the workers will answer on the status address."""
    return _is_known(server) and replaced.is_called(server.cfg, "post_worker_init")


def _is_known(server: Any) -> bool:
    """Tell whether the worker class is one of those that are known; warn if not."""
    if strategy_for(server.worker_class) is not None:
        return True
    warn(
        server.log,
        f"requests are not counted with worker class {server.cfg.worker_class_str}, "
        "which is not one of those that are known; there is no status",
    )
    return False


def _warn_of_hidden_peers(server: Any) -> None:
    """Warn where `expose` is on and nothing is exposed."""
    arbiter = mine()
    if arbiter is not None and arbiter.settings.expose:
        hiding = cfg.hides_peers(server.cfg)
        if hiding is not None:
            warn(server.log, f"expose: with {hiding} clients name themselves; nobody may read")


def _try_listeners(server: Any) -> None:
    arbiter = mine()
    if arbiter is not None:
        identity = cfg.identity(server.cfg, server.pid, arbiter.started)
        arbiter.try_listeners(identity, server.LISTENERS)
        arbiter.defer_accept(server.LISTENERS)


@guard
def pre_fork(server: Any, worker: Any) -> None:
    """Claim a slot for a worker; free those whose workers went without `child_exit`."""
    if process.arbiter is None:
        _start_late(server, settings.load(keywords, os.environ))
    arbiter = mine()
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
    arbiter = mine()
    if arbiter is not None:
        try:
            arbiter.release(worker, _end_of(worker), _pid)
        except Exception as error:
            arbiter.later(f"child_exit failed: {type(error).__name__}: {error}")


def _pid(worker: Any) -> int | None:
    """Return a worker's pid; None while it is being forked."""
    return worker.pid if isinstance(worker.pid, int) else None


@guard
def pre_exec(server: Any) -> None:
    """Hand scoreboard and status address on to the next arbiter (USR2), in the child of ours that
    is about to execute it."""
    arbiter = process.arbiter
    if arbiter is not None and arbiter.pid == os.getppid():
        server.cfg.env_orig.update(arbiter.hand_over())


@guard
def on_exit(server: Any) -> None:
    """Remove what this server has put into the file system."""
    arbiter = mine()
    if arbiter is not None:
        arbiter.stop(alone=_is_alone(server))
