"""Throughput of a hello-world under the other worker classes, with us and without.

Bar: a request takes at most 4.5 µs more under gunicorn's asgi worker and 5 µs more under uvicorn's,
where a wrapper around the application does all the counting. Two servers differ by more than that
for where their memory happens to lie. So one worker has the application counted and bare
(switched.py), and bursts of some ms go to either in turn. The time is that of the worker's main
thread on the CPU, as /proc gives it: the wall clock would count whatever else the machine does.
For gevent, whose hooks count, and for gevent_pywsgi, whose bodies are proxied, the ratio is printed
as throughput.py has it.
"""

import importlib.util
import select
import shutil
import socket
import statistics
from functools import partial
from pathlib import Path

import apps
import common

ASGI = {"asgi": ("gunicorn", 4.5), "uvicorn_worker.UvicornWorker": ("uvicorn_worker", 5.0)}
"""Worker classes: what they need, and the most that a request may take more there, in µs."""
WSGI = {"gevent": "gevent", "gevent_pywsgi": "gevent"}
SIDES = ("bare", "same", "ours")
BURST = 200
"""Requests in one timing."""


def main() -> None:
    quick = common.arguments(__doc__).quick
    verdicts = []
    for name, (needs, most) in ASGI.items():
        if importlib.util.find_spec(needs) is None:
            common.skipped(name, needs)
            continue
        added = tell_switched(name, *((3, 40) if quick else (10, 100)))
        bar = f"at most {most} µs"
        verdicts.append(common.verdict(added <= most, name, f"{added:.1f} µs added", bar))
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


def tell_switched(name: str, blocks: int, pairs: int) -> float:
    """Print what a request takes in one worker, bare and counted in turn; return the median of the
    microseconds that we add to it."""
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    config = str(common.HERE / "switched.py")
    options = ("-c", config, "--worker-class", name, "--keep-alive", "75")
    for _ in range(blocks):
        server = common.Gunicorn("hello_asgi", 1, *options, ours=True)
        try:
            client = Client(server.port, *server.workers())
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
    common.print_ratios(common.ratios(bare, found["ours"]), common.ratios(bare, found["same"]))
    return statistics.median(added)


class Client:
    """Connections that are kept alive, each with one request under way."""

    def __init__(self, port: int, worker: int) -> None:
        self._used = Path(f"/proc/{worker}/task/{worker}/schedstat")
        self._poll = select.epoll()
        self._lines = {}
        for _ in range(common.CONNECTIONS):
            line = socket.create_connection(("127.0.0.1", port), common.WAIT)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(line, select.EPOLLIN)
            self._lines[line.fileno()] = line

    def burst(self, path: str) -> float:
        """Return the microseconds of CPU time that each of BURST requests takes the worker."""
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        asked = answered = 0
        before = self._nanoseconds()
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
        return (self._nanoseconds() - before) / BURST / 1e3

    def _nanoseconds(self) -> int:
        """Return the worker's time on the CPU, the first of the three figures in schedstat."""
        return int(self._used.read_text().split()[0])

    def close(self) -> None:
        """Close them."""
        for line in self._lines.values():
            line.close()
        self._poll.close()


if __name__ == "__main__":
    main()
