"""The live scoreboard for Gunicorn: requests inside the workers, connections waiting outside.

`gunicorn -c python:gunicorn_raindrops.conf myapp:app` counts and shows them; the counters are of
use on their own as well.
"""

from typing import Any

from .histogram import Histogram
from .listeners import InetDiagSocket, ListenStats, tcp_listener_stats, unix_listener_stats
from .shm import Raindrops, Struct
from .tcp_info import TCPInfo

__version__ = "0.1.0"

__all__ = [
    "Histogram",
    "InetDiagSocket",
    "ListenStats",
    "Raindrops",
    "Struct",
    "TCPInfo",
    "__version__",
    "hooks",
    "tcp_listener_stats",
    "unix_listener_stats",
]


def __getattr__(name: str) -> Any:
    # The counters need no gunicorn; a conf file that says gunicorn_raindrops.hooks does.
    if name == "hooks":
        import importlib

        return importlib.import_module(".hooks", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
