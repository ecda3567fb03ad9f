"""Uses of the public API, for mypy --strict; nothing runs them."""

import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from prometheus_client import Metric

import gunicorn_raindrops
from gunicorn_raindrops import (
    ASGIMiddleware,
    Gauge,
    Histogram,
    InetDiagSocket,
    ListenStats,
    Middleware,
    PrometheusCollector,
    Raindrops,
    Struct,
    TCPInfo,
    Watcher,
    WorkerGauge,
    tcp_listener_stats,
    unix_listener_stats,
)

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Stats(Struct):
    """A Struct as the README has it."""

    unit: ClassVar[str] = "requests"
    calling: int
    writing: int


class More(Stats):
    """A Struct with inherited members."""

    waiting: int


def raindrops() -> None:
    """Counters by index."""
    with Raindrops(4) as rd:
        assert_type(rd, Raindrops)
        assert_type(rd.incr(0), int)
        assert_type(rd.incr(0, 2), int)
        assert_type(rd.decr(i=0, n=2), int)
        assert_type(rd[0], int)
        rd[0] = 5
        assert_type(len(rd), int)
        assert_type(iter(rd), Iterator[int])
        assert_type(list(rd), list[int])
        assert_type(sum(rd), int)
        assert_type(rd.size, int)
        rd.size = 8
        assert_type(rd.capacity, int)
        assert_type(rd.copy(), Raindrops)
        assert_type(rd.fileno(), int)
        rd.close()
        rd.evaporate()
    assert_type(Raindrops.SIZE, int)
    assert_type(Raindrops.PAGE_SIZE, int)
    assert_type(Raindrops.MAX, int)


def raindrops_in_files() -> None:
    """All that a file may be."""
    with tempfile.TemporaryFile() as file:
        Raindrops(1, file=file, zero=True)
        Raindrops(1, file=file.fileno())
    Raindrops(1, file="/run/counters")
    Raindrops(1, file=b"/run/counters")
    Raindrops(1, file=Path("/run/counters"), zero=False)
    Raindrops(1, file=None)


def structs() -> None:
    """Counters by name."""
    with Stats(calling=5) as stats:
        assert_type(stats, Stats)
        assert_type(stats.calling, int)
        stats.calling = 3
        stats.calling += 1
        assert_type(stats.incr_calling(), int)
        assert_type(stats.incr_calling(2), int)
        assert_type(stats.decr_writing(n=2), int)
        update: Callable[..., int] = stats.incr_writing
        assert_type(update(), int)
        assert_type(stats[0], int)
        stats[1] = 2
        assert_type(len(stats), int)
        assert_type(list(stats), list[int])
        assert_type(stats.as_dict(), dict[str, int])
        assert_type(stats.copy(), Stats)
        stats.close()
    assert_type(Stats.MEMBERS, tuple[str, ...])
    assert_type(Stats.unit, str)
    more = More(waiting=1, calling=2)
    assert_type(more.waiting + more.calling, int)
    assert_type(more.copy(), More)


def mistakes() -> None:
    """What mypy must complain of; where it does not, it complains of the comment."""
    rd = Raindrops(4, "file")  # type: ignore[call-arg]
    rd.incr("x")  # type: ignore[arg-type]
    rd.incr(0, 1.5)  # type: ignore[arg-type]
    rd[0] = "x"  # type: ignore[assignment]
    rd.capacity = 5  # type: ignore[misc]
    stats = Stats(5)  # type: ignore[call-arg]
    stats.calling = "x"  # type: ignore[assignment]


def listeners() -> None:
    """Listeners of this machine."""
    found = tcp_listener_stats()
    assert_type(found, dict[str, ListenStats])
    with InetDiagSocket() as sock:
        tcp_listener_stats(["127.0.0.1:80"], sock)
        tcp_listener_stats("127.0.0.1:80", sock=sock)
        unix_listener_stats(["/run/nginx.sock"], sock)
    assert_type(unix_listener_stats(), dict[str, ListenStats])
    for stats in found.values():
        assert_type(stats.active, int | None)
        assert_type(stats.queued, int | None)
        assert_type(stats.backlog, int | None)
        assert_type(stats.dropped, int | None)
        assert_type(stats.total, int | None)
        assert_type(stats.waiting, int | None)


def connections(sock: socket.socket) -> None:
    """One connection, as the kernel sees it."""
    info = TCPInfo(sock)
    assert_type(info, TCPInfo)
    assert_type(info.rtt, int | None)


def hooks() -> None:
    """In a gunicorn.conf.py."""
    gunicorn_raindrops.hooks.install(
        globals(), bind="127.0.0.1:9180", listeners=["/run/nginx.sock"]
    )
    assert_type(gunicorn_raindrops.__version__, str)


def times() -> None:
    """A histogram and what it held."""
    with Histogram() as histogram:
        assert_type(histogram.record(0.25), None)
        held = histogram.read()
        assert_type(held.count, int)
        assert_type(held.sum, float)
        assert_type(held.percentile(99), float | None)
        assert_type(histogram.mean, float | None)
        assert_type(str(histogram), str)


class Own(Struct):
    """Counters that the server shows."""

    orders: int
    stock: Gauge
    sockets: WorkerGauge


def own_counters(own: Own) -> None:
    """Gauges are numbers like the others."""
    assert_type(own.stock, int)
    assert_type(own.incr_sockets(2), int)
    own.stock -= 1


def middlewares(wsgi: Callable[..., Any], asgi: Callable[..., Awaitable[None]]) -> None:
    """Around any application."""
    Middleware(wsgi, path="/_status", stats=Stats(), allow=["127.0.0.1"], token="secret")
    ASGIMiddleware(asgi, file="/run/app.raindrops", max_workers=8, listeners=["127.0.0.1:80"])


def collector() -> None:
    """For a registry of the application's own."""
    assert_type(list(PrometheusCollector().collect()), list[Metric])


def watching() -> None:
    """The Watcher."""
    watcher = Watcher(["127.0.0.1:80", "/run/nginx.sock"], delay=0.5)
    everything = Watcher()
    body = everything({"REQUEST_METHOD": "GET"}, lambda status, headers: None)
    assert_type(list(body), list[bytes])
    for one in (Watcher("127.0.0.1:80"), watcher, everything):
        one.close()
