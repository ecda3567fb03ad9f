"""Throughput of a hello-world under the other worker classes, with us and without.

Bar: the median ratio is at least 0.98 for gunicorn's asgi and uvicorn's worker, where what stands
around the application does all the counting. A request takes so little there that 2 % of it are
about a microsecond, which is less than two servers differ by for where their memory happens to lie.
So these two are measured in one worker that has the application counted and bare (switched.py), in
bursts of some ms, in turn. For gevent, whose hooks count, and for gevent_pywsgi, whose bodies are
proxied, the ratio is told as throughput.py has it.
"""

import importlib.util
import select
import shutil
import socket
import time
from functools import partial

import apps
import common

LEAST = 0.98
ASGI = {"asgi": "gunicorn", "uvicorn_worker.UvicornWorker": "uvicorn_worker"}
WSGI = {"gevent": "gevent", "gevent_pywsgi": "gevent"}
SIDES = ("bare", "same", "ours")
BURST = 200
"""Requests in one timing."""


def main() -> None:
    quick = common.arguments(__doc__).quick
    verdicts = []
    for name, needs in ASGI.items():
        if importlib.util.find_spec(needs) is None:
            common.skipped(name, needs)
            continue
        ratio, noise = tell_switched(name, *((3, 40) if quick else (10, 100)))
        figure, bar = f"ratio {ratio:.3f}", f"at least {LEAST}; A/A floor ±{noise:.1%}"
        verdicts.append(common.verdict(ratio >= LEAST, name, figure, bar))
    if not quick:
        for name, needs in WSGI.items():
            tell_throughput(name, needs)
    common.finish(verdicts)


def tell_throughput(name: str, needs: str) -> None:
    """Print the throughput of servers side by side."""
    for what, missing in (("wrk", shutil.which("wrk")), (needs, importlib.util.find_spec(needs))):
        if missing is None:
            common.skipped(name, what)
            return
    print(f"throughput of a hello-world, gunicorn --workers 2 --worker-class {name}, wrk -c8")
    options = ("--worker-class", name)
    common.print_rates(common.rates("hello", 2, *options, blocks=4, pairs=4, seconds=1))


def tell_switched(name: str, blocks: int, pairs: int) -> tuple[float, float]:
    """Print what a request takes in one worker, bare and counted in turn; return the median ratio
    of the throughput with us to that without, and the floor."""
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    config = str(common.HERE / "switched.py")
    options = ("-c", config, "--worker-class", name, "--keep-alive", "75")
    for _ in range(blocks):
        server = common.Gunicorn("hello_asgi", 1, *options, ours=True)
        try:
            client = Client(server.port)
            sides = {side: partial(client.burst, f"/{side}") for side in SIDES}
            for burst in [*sides.values()] * 4:
                burst()  # warm
            for side, values in common.alternate(pairs, **sides).items():
                found[side] += values
            client.close()
        finally:
            server.stop()
    bare = found["bare"]
    added, same = (common.differences(found[side], bare) for side in ("ours", "same"))
    print(f"a hello-world in one worker of --worker-class {name}, {common.CONNECTIONS} clients:")
    print(f"  bare       {common.spread(bare, ' µs', 1)}")
    print(f"  added      {common.spread(added, ' µs', 1)}, A/A {common.spread(same, ' µs', 1)}")
    return common.print_ratios(
        common.ratios(bare, found["ours"]), common.ratios(bare, found["same"])
    )


class Client:
    """Connections that are kept alive, each with one request under way."""

    def __init__(self, port: int) -> None:
        self._poll = select.epoll()
        self._lines = {}
        for _ in range(common.CONNECTIONS):
            line = socket.create_connection(("127.0.0.1", port), common.WAIT)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(line, select.EPOLLIN)
            self._lines[line.fileno()] = line

    def burst(self, path: str) -> float:
        """Return the microseconds that each of BURST requests takes the server."""
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        asked = answered = 0
        began = time.perf_counter()
        for line in self._lines.values():
            line.send(request)
            asked += 1
        while answered < BURST:
            for fd, _ in self._poll.poll(common.WAIT):
                line = self._lines[fd]
                answer = line.recv(4096)
                if not answer:
                    raise RuntimeError("the server has closed a connection")
                if answer.endswith(apps.BODY):  # head and body may come one after the other
                    answered += 1
                    if asked < BURST:
                        line.send(request)
                        asked += 1
        return (time.perf_counter() - began) / BURST * 1e6

    def close(self) -> None:
        """Close them."""
        for line in self._lines.values():
            line.close()
        self._poll.close()


if __name__ == "__main__":
    main()
