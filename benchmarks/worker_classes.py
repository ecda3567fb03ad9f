"""Throughput of a hello-world under the other worker classes, with us and without.

Bar: the median ratio is at least 0.98 for gunicorn's asgi and uvicorn's worker, where what stands
around the application does all the counting: a coroutine more a request, and one more for its
first message. Throughput scatters by more than that costs, so the cost of one request, driven in
process, is told beside it; and the ratio for gevent, whose hooks count, and for gevent_pywsgi,
whose bodies are proxied.
"""

import asyncio
import importlib.util
import shutil
import socket
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import apps
import common

from gunicorn_raindrops.scoreboard import Scoreboard
from gunicorn_raindrops.unthreaded import AroundASGI

LEAST = 0.98
ASGI = {"asgi": "gunicorn", "uvicorn_worker.UvicornWorker": "uvicorn_worker"}
WSGI = {"gevent": "gevent", "gevent_pywsgi": "gevent"}
BATCH = 100
"""Requests in one timing in process."""

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: benchmark\r\nAccept: */*\r\n\r\n"


def main() -> None:
    quick = common.arguments(__doc__).quick
    tell_cost(50 if quick else 300)
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
    """Print what counting adds to a request of an ASGI application, on a connection that a server's
    own protocol reads, both ends of it in this process."""
    board = Scoreboard(1)
    claim = board.claim()
    assert claim is not None
    assert board.take(claim, 1, 1)
    ours = AroundASGI().around(apps.hello_asgi, None)
    for name in ASGI:
        with asyncio.Runner() as runner:
            sides = {"bare": apps.hello_asgi, "same": apps.hello_asgi, "ours": ours}
            lines = {
                side: runner.run(connection(PROTOCOLS[name], app)) for side, app in sides.items()
            }
            batches = {
                side: lambda line=line: runner.run(batch(line)) for side, line in lines.items()
            }
            for measure in batches.values():
                measure()  # warm
            found = common.alternate(rounds, **batches)
            for line in lines.values():
                line.close()
        added, same = (common.differences(found[side], found["bare"]) for side in ("ours", "same"))
        share = common.ratios(found["bare"], found["ours"])
        print(f"a request through the protocol of {name}, both ends in one process:")
        print(f"  bare       {common.spread(found['bare'], ' µs', 1)}")
        print(f"  added      {common.spread(added, ' µs', 1)}, A/A {common.spread(same, ' µs', 1)}")
        print(f"  without us / with us  {common.spread(share)}")
    assert board.read().requests == len(ASGI) * (rounds + 1) * BATCH


def gunicorns(app: Any) -> asyncio.Protocol:
    """Return a protocol of gunicorn's asgi worker."""
    from gunicorn.asgi.protocol import ASGIProtocol
    from gunicorn.config import Config
    from gunicorn.glogging import Logger

    cfg = Config()
    worker = SimpleNamespace(cfg=cfg, log=Logger(cfg), asgi=app, loop=asyncio.get_running_loop())
    worker.nr_conns, worker.nr, worker.max_requests, worker.alive = 0, 0, sys.maxsize, True
    worker.state = {}
    return ASGIProtocol(worker)  # type: ignore[no-any-return]


def uvicorns(app: Any) -> asyncio.Protocol:
    """Return a protocol of uvicorn's worker, which logs no access there."""
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    config = Config(app, interface="asgi3", access_log=False, log_level="error", lifespan="off")
    config.load()
    return config.http_protocol_class(  # type: ignore[no-any-return, call-arg]
        config=config, server_state=ServerState(), app_state={}
    )


PROTOCOLS = {"asgi": gunicorns, "uvicorn_worker.UvicornWorker": uvicorns}


async def connection(make: Callable[[Any], asyncio.Protocol], app: Any) -> socket.socket:
    """Return the client's end of a new connection to an application."""
    theirs, ours = socket.socketpair(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: make(app), theirs)
    return ours


async def batch(line: socket.socket) -> float:
    """Return the microseconds that a request takes."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    for _ in range(BATCH):
        await loop.sock_sendall(line, REQUEST)
        answer = await loop.sock_recv(line, 65536)
        while not answer.endswith(apps.BODY):
            answer += await loop.sock_recv(line, 65536)
    return (time.perf_counter() - began) / BATCH * 1e6


if __name__ == "__main__":
    main()
