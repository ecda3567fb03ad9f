"""Throughput of a hello-world under the other worker classes, with us and without.

Bar: the median ratio is at least 0.98 for gunicorn's asgi and uvicorn's worker, where what stands
around the application does all the counting: a coroutine more a request, and one more for its
first message. Throughput scatters by more than that costs, so the cost of one request, driven in
process, is told beside it; and the ratio for gevent, whose hooks count, and for gevent_pywsgi,
whose bodies are proxied.
"""

import importlib.util
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import apps
import common

LEAST = 0.98
ASGI = {"asgi": "gunicorn", "uvicorn_worker.UvicornWorker": "uvicorn_worker"}
WSGI = {"gevent": "gevent", "gevent_pywsgi": "gevent"}
BATCH = 500
"""Requests in one timing in process."""


def main() -> None:
    quick = common.arguments(__doc__).quick
    tell_cost(200 if quick else 1000)
    if shutil.which("wrk") is None:
        common.skipped("worker classes", "wrk")
        sys.exit(0)
    blocks, pairs = (2, 4) if quick else (4, 4)
    verdicts = []
    for name, needs in (ASGI if quick else {**ASGI, **WSGI}).items():
        if importlib.util.find_spec(needs) is None:
            common.skipped(name, needs)
            continue
        print(f"throughput of a hello-world, gunicorn --workers 2 --worker-class {name}, wrk -c8")
        app = "hello_asgi" if name in ASGI else "hello"
        options = ("--worker-class", name)
        found = common.rates(app, 2, *options, blocks=blocks, pairs=pairs, seconds=1)
        ratio, noise = common.print_rates(found)
        figure, bar = f"ratio {ratio:.3f}", f"at least {LEAST}; A/A floor ±{noise:.1%}"
        if name in ASGI:
            verdicts.append(common.verdict(ratio >= LEAST, name, figure, bar))
    common.finish(verdicts)


def tell_cost(rounds: int) -> None:
    """Print what counting adds to a request of an ASGI application, without a server."""
    from gunicorn_raindrops.scoreboard import Scoreboard
    from gunicorn_raindrops.workers import AroundASGI

    board = Scoreboard(1)
    claim = board.claim()
    assert claim is not None
    assert board.take(claim, 1, 1)
    ours = AroundASGI.around(apps.hello_asgi, None)
    found = common.alternate(
        rounds,
        bare=lambda: one(apps.hello_asgi),
        same=lambda: one(apps.hello_asgi),
        ours=lambda: one(ours),
    )
    print("an ASGI request in process, counted:")
    print(
        f"  added      {common.spread(common.differences(found['ours'], found['bare']), ' µs', 2)}"
    )
    print(
        f"  added A/A  {common.spread(common.differences(found['same'], found['bare']), ' µs', 2)}"
    )
    assert board.read().requests == rounds * BATCH


def one(app: Callable[..., Awaitable[None]]) -> float:
    """Return the microseconds that an application takes for a request."""
    scope = {"type": "http", "path": "/", "method": "GET", "headers": []}
    began = time.perf_counter()
    for _ in range(BATCH):
        request: Any = app(scope, receive, send)
        try:
            request.send(None)
        except StopIteration:
            continue
        raise RuntimeError("it waits for something")
    return (time.perf_counter() - began) / BATCH * 1e6


async def receive() -> dict[str, Any]:
    """Stand in for a server."""
    return {"type": "http.disconnect"}


async def send(message: dict[str, Any]) -> None:
    """Stand in for a server that need not wait."""


if __name__ == "__main__":
    main()
