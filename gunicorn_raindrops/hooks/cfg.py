"""What gunicorn's settings mean to us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gunicorn

from .. import __version__
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
