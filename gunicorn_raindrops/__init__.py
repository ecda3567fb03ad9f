"""The live scoreboard for Gunicorn: requests inside the workers, connections waiting outside.

`gunicorn -c python:gunicorn_raindrops.conf myapp:app` counts and shows them; the counters are of
use on their own as well.
"""

from typing import TYPE_CHECKING, Any

from .listeners import InetDiagSocket, ListenStats, tcp_listener_stats, unix_listener_stats
from .listeners.tcp_info import TCPInfo
from .shm import Gauge, Raindrops, Struct, WorkerGauge

if TYPE_CHECKING:
    from .exporters.prometheus import PrometheusCollector
    from .histogram import Histogram
    from .last_data_recv import LastDataRecv
    from .middleware import ASGIMiddleware, Middleware
    from .watcher import Watcher

__version__ = "0.1.0"

__all__ = [
    "ASGIMiddleware",
    "Gauge",
    "Histogram",
    "InetDiagSocket",
    "LastDataRecv",
    "ListenStats",
    "Middleware",
    "PrometheusCollector",
    "Raindrops",
    "Struct",
    "TCPInfo",
    "Watcher",
    "WorkerGauge",
    "__version__",
    "hooks",
    "tcp_listener_stats",
    "unix_listener_stats",
]


_LATER = {
    "ASGIMiddleware": ".middleware",
    "Histogram": ".histogram",
    "LastDataRecv": ".last_data_recv",
    "Middleware": ".middleware",
    "PrometheusCollector": ".exporters.prometheus",
    "Watcher": ".watcher",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: the counters need no gunicorn, which a conf file that says
    # gunicorn_raindrops.hooks does, and the hooks need neither middleware nor histogram.
    import importlib

    if name == "hooks":
        return importlib.import_module(".hooks", __name__)
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
