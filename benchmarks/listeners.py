"""How long a reading of listeners takes, beside Ruby raindrops and plain pyroute2.

    python benchmarks/listeners.py [--rounds N] [--only SCENE] [--clock cpu]

Needs the package ruby-raindrops. Every scene makes its sockets on the loopback, then alternates
between the two contestants; what is judged is the median of the rounds' ratios, which other work
on the machine disturbs least. Where there is much of it, processor time (--clock cpu, the kernel's
part included) still tells who does less. The exit status is 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gunicorn_raindrops.listeners import InetDiagSocket, queries, sock_diag, tcp_listener_stats

RUBY = Path(__file__).with_name("listeners_ruby.rb")
CONNECTIONS = 9_000
FOREIGN = 10_000  # connections: twice as many sockets
CALLS = 3  # a round
CLOCKS = {"wall": time.CLOCK_MONOTONIC, "cpu": time.CLOCK_THREAD_CPUTIME_ID}
clock = CLOCKS["wall"]
NO_TIME_WAIT = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


# The sockets.


def listen() -> socket.socket:
    """Return a listener with the longest queue there is."""
    return socket.create_server(("127.0.0.1", 0), backlog=4096)


def name(listener: socket.socket) -> str:
    """Return a listener's address as it is asked for."""
    return "{}:{}".format(*listener.getsockname())


@contextlib.contextmanager
def child(work: Callable[[], Any]) -> Iterator[Callable[[], None]]:
    """Let a process do `work` and hold the result until the end; yield what waits for it."""
    ready, said = os.pipe()
    waiting, end = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(end)
        held = work()
        os.write(said, b".")
        os.read(waiting, 1)
        del held
        os._exit(0)
    os.close(said)
    os.close(waiting)

    def wait() -> None:
        assert os.read(ready, 1) == b".", "a child of this benchmark failed"

    try:
        yield wait
    finally:
        os.close(end)
        os.close(ready)
        os.waitpid(pid, 0)


@contextlib.contextmanager
def crowd(group: list[socket.socket], total: int) -> Iterator[None]:
    """Accept `total` connections, shared out evenly over a group of listeners."""

    def connect() -> list[socket.socket]:
        clients = []
        for i in range(total):
            client = socket.create_connection(group[i % len(group)].getsockname())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_TIME_WAIT)
            clients.append(client)
        return clients

    with child(connect) as wait:
        accepted = [group[i % len(group)].accept()[0] for i in range(total)]
        wait()
        try:
            yield
        finally:
            for one in accepted:
                one.close()


def foreigners() -> list[Any]:
    """Hold connections of others: a listener, what it accepted, and its clients' process."""
    listener = listen()
    stack = contextlib.ExitStack()
    stack.enter_context(crowd([listener], FOREIGN))
    return [listener, stack]


# The contestants.


class Ruby:
    """A Ruby process that times its own calls."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["ruby", RUBY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, addresses: list[str] | None, calls: int = CALLS) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        task = {"addresses": addresses, "calls": calls, "clock": clock}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(10)


def timed(call: Callable[[], Any], calls: int = CALLS) -> list[int]:
    """Return the nanoseconds of each call."""
    times = []
    for _ in range(calls):
        start = time.clock_gettime_ns(clock)
        call()
        times.append(time.clock_gettime_ns(clock) - start)
    return times


class Bench:
    """Runs the scenes and remembers whether a bar was missed."""

    def __init__(self, rounds: int) -> None:
        self.rounds, self.missed = rounds, False
        self.ruby = Ruby()
        self.sock = InetDiagSocket()

    def ours(self, addresses: list[str] | None) -> Callable[[], list[int]]:
        """Return what times our reading."""
        return lambda: timed(lambda: tcp_listener_stats(addresses, self.sock))

    def theirs(self, addresses: list[str] | None) -> Callable[[], list[int]]:
        """Return what times Ruby's, after a look at whether it reads the same."""
        ours, theirs = tcp_listener_stats(addresses, self.sock), self.ruby(addresses)["found"]
        for address in addresses or ():  # those of others do not hold still
            assert list(ours[address][:2]) == theirs[address], address
        return lambda: list(self.ruby(addresses)["times"])

    def compare(
        self, scene: str, a: Callable[[], list[int]], b: Callable[[], list[int]], bar: float
    ) -> None:
        """Time both in turn; the median of a/b must not be above `bar`."""
        pairs = []
        for i in range(self.rounds + 1):
            first, second = (a, b) if i % 2 else (b, a)
            times = {first: statistics.median(first())}
            times[second] = statistics.median(second())
            pairs.append((times[a], times[b]))
        pairs = pairs[1:]  # the first one warms up
        ours, peer = (statistics.median(column) / 1e6 for column in zip(*pairs, strict=True))
        self.say(scene, f"{ours:9.3f} ms {peer:9.3f} ms", [x / y for x, y in pairs], bar)

    def say(self, scene: str, figures: str, ratios: list[float], bar: float) -> None:
        """Print a line of the table."""
        middle = statistics.median(ratios)
        spread = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [middle] * 3
        verdict = "met" if middle <= bar else "MISSED"
        self.missed |= middle > bar
        print(
            f"{scene:52} {figures}  {middle:6.3f} ({spread[0]:.3f}-{spread[2]:.3f})"
            f"  <= {bar:<6.3f} {verdict}",
            flush=True,
        )


# The scenes.


def many_connections(bench: Bench) -> None:
    """One listener with 9,000 accepted connections."""
    with listen() as listener, crowd([listener], CONNECTIONS):
        one = [name(listener)]
        bench.compare("9,000 connections, by name / Ruby", bench.ours(one), bench.theirs(one), 1)
        bench.compare("9,000 connections, all / Ruby", bench.ours(None), bench.theirs(None), 0.5)
        pyroute2_too(bench, listener)
        beside_a_thread(bench, one)


def pyroute2_too(bench: Bench, listener: socket.socket) -> None:
    """Through pyroute2's own get_sock_stats: as it comes, and asked for the very same rows."""
    from pyroute2 import DiagSocket

    states, sport = 1 << 1 | 1 << 10, listener.getsockname()[1]
    ours = bench.ours([name(listener)])
    rounds, bench.rounds = bench.rounds, min(bench.rounds, 7)
    with DiagSocket() as diag:
        diag.bind()

        def plain() -> list[int]:
            gc.collect()  # nobody pays for the garbage of the time before
            return timed(lambda: diag.get_sock_stats(family=socket.AF_INET), 1)

        def filtered() -> list[int]:
            gc.collect()
            return timed(
                lambda: diag.get_sock_stats(
                    family=socket.AF_INET, states=states, extensions=1 << 6, sport=sport
                ),
                1,
            )

        bench.compare("9,000 connections, by name / plain pyroute2", ours, plain, 1 / 50)
        bench.compare("9,000 connections, by name / its filters in use", ours, filtered, math.inf)
    bench.rounds = rounds


def beside_a_thread(bench: Bench, addresses: list[str]) -> None:
    """How much a Python thread does while readings follow one another without a pause."""
    counts, running = [0], True

    def spin() -> None:
        while running:
            counts[0] += 1

    thread = threading.Thread(target=spin)
    thread.start()
    ratios, alone, beside = [], 0.0, 0.0
    for _ in range(bench.rounds):
        alone = speed(thread, counts, lambda: time.sleep(0.2))
        beside = speed(thread, counts, lambda: read_for(0.2, addresses, bench.sock))
        again = speed(thread, counts, lambda: time.sleep(0.2))
        ratios.append((alone + again) / 2 / beside)
    running = False
    thread.join()
    figures = f"{beside / 1e6:6.2f} M/s  {alone / 1e6:6.2f} M/s "
    bench.say("a Python thread: alone / beside readings", figures, ratios, 1 / 0.9)


def speed(thread: threading.Thread, counts: list[int], meanwhile: Callable[[], Any]) -> float:
    """Return the thread's loops a second while something else is done.

    Time in which it was ready but had no processor is left out: other programs took that. A wait
    for the GIL is none of it, a thread sleeps through that.
    """
    start, before, waited = time.perf_counter(), counts[0], delayed(thread)
    meanwhile()
    seconds = time.perf_counter() - start - (delayed(thread) - waited)
    return (counts[0] - before) / seconds


def delayed(thread: threading.Thread) -> float:
    """Return the seconds a thread has waited for a processor (sched-stats.rst of the kernel)."""
    stats = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
    return int(stats.split()[1]) / 1e9


def read_for(seconds: float, addresses: list[str], sock: InetDiagSocket) -> None:
    """Read again and again."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        tcp_listener_stats(addresses, sock)


def foreign_sockets(bench: Bench) -> None:
    """20,000 sockets of others, and ten of ours: connections of one listener, or listeners."""
    with contextlib.ExitStack() as stack:
        group = [stack.enter_context(listen()) for _ in range(10)]
        with child(foreigners) as wait:
            wait()
            with crowd(group[:1], 10):
                one = [name(group[0])]
                bench.compare(
                    "20,000 foreign sockets, 10 connections / Ruby",
                    bench.ours(one),
                    bench.theirs(one),
                    1,
                )
            ten = [name(listener) for listener in group]
            bench.compare(
                "20,000 foreign sockets, 10 listeners / Ruby",
                bench.ours(ten),
                bench.theirs(ten),
                1,
            )


def two_hundred(bench: Bench) -> None:
    """200 listeners by name against one dump of everything, which nothing could do with less."""
    requests = b"".join(
        queries.tcp(socket.AF_INET, listening, frozenset()) for listening in (True, False)
    )

    def dump() -> list[int]:
        table = sock_diag._Table(1024)
        times = timed(lambda: table.dump(bench.sock.fileno(), requests))
        assert sum(row.active for row in table.rows()) >= CONNECTIONS
        return times

    with contextlib.ExitStack() as stack:
        group = [stack.enter_context(listen()) for _ in range(200)]
        stack.enter_context(crowd(group, CONNECTIONS))
        names = [name(listener) for listener in group]
        bench.compare("200 listeners by name / one dump", bench.ours(names), dump, 1.1)
        bench.compare("200 listeners by name / Ruby", bench.ours(names), bench.theirs(names), 1)


SCENES = [many_connections, foreign_sockets, two_hundred]


def main() -> int:
    """Run the scenes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--only", choices=[scene.__name__ for scene in SCENES])
    options = parser.parse_args()
    global clock
    clock = CLOCKS[options.clock]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bench = Bench(options.rounds)
    print(f"{'':52} {'ours':>12} {'peer':>12}  median ratio (quartiles)   bar", flush=True)
    for scene in SCENES:
        if options.only in (None, scene.__name__):
            scene(bench)
    bench.ruby.close()
    return int(bench.missed)


if __name__ == "__main__":
    sys.exit(main())
