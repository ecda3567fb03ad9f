"""What gunicorn's settings mean to us."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gunicorn

from .. import __version__
from ..looking.frames import outwards
from ..snapshot import Arbiter
from ..worker_side import Push


def identity(cfg: Any, pid: int, started: float) -> Arbiter:
    """Return what a snapshot tells about the arbiter."""
    return Arbiter(pid, gunicorn.__version__, __version__, cfg.worker_class_str, started)


def pusher(cfg: Any, warn: Callable[[str], None]) -> Push | None:
    """Return what sends snapshots where gunicorn's own statsd settings say; None for nowhere."""
    if cfg.statsd_host is None:
        return None
    from ..exporters import statsd  # a worker without statsd does not pay for it

    return statsd.Pusher(cfg.statsd_host, cfg.statsd_prefix, cfg.dogstatsd_tags, warn).push


def hides_peers(cfg: Any) -> str | None:
    """Return the setting by which clients may choose their addresses; None: there is none.

    By a PROXY line, which gunicorn forgets after the first request of a connection; or by the
    variables of the uwsgi protocol, whose client is a proxy (gunicorn 24 and later).
    """
    if cfg.proxy_protocol not in (False, "off"):  # before 25 it is a switch
        return "proxy_protocol"
    speaks_uwsgi = "protocol" in cfg.settings and cfg.protocol == "uwsgi"
    return "the uwsgi protocol" if speaks_uwsgi else None


def is_only_checked(conf: Mapping[str, Any]) -> bool:
    """Tell, while gunicorn reads its conf, whether it ends after that, without running a hook.

    Args:
        conf: the conf's globals.
    """
    names = ("check_config", "print_config")
    return any(_is_on(given.get(name)) for given in (conf, *_parsed()) for name in names)


def _is_on(value: Any) -> bool:
    """Tell what gunicorn makes of a switch."""
    return str(value).strip().lower() == "true"


def _parsed() -> Iterator[dict[str, Any]]:
    """Yield what gunicorn has parsed of its command line and of GUNICORN_CMD_ARGS. It has read the
    options of both, abbreviated ones too, and keeps them in variables of the method that reads the
    conf until that is done: the conf comes before them."""
    for frame in outwards(sys._getframe()):
        if frame.f_code.co_name == "load_config":
            found = frame.f_locals.values()
            yield from (vars(value) for value in found if isinstance(value, Namespace))
