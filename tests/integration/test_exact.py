"""Exact to the request: what the server counts is what its clients counted."""

import collections
import random
import re
import threading

from .classes import CELL, each
from .servers import connect, eventually

REQUESTS, FEWER = 10_000, 2_000
CLIENTS = 8
END_OF_HEAD = re.compile(rb"\r\n\r?\n")
"""gunicorn's pages of errors go through textwrap.dedent, which from Python 3.14 on takes a lone CR
for an empty line."""

# path, whether the client leaves after the first bytes, and how often of a hundred
MIX = [
    ("/", False, 62),
    ("/nowhere", False, 20),
    ("/redirect", False, 5),
    ("/unavailable", False, 5),
    ("/boom", False, 3),
    ("/boom-first", False, 1),
    ("/boom-mid", False, 1),
    ("/stream?n=20&s=0&size=20000", True, 3),
]


class Client:
    """Sends its share of the load over one connection as long as the server keeps it."""

    def __init__(self, address, kind, seed):
        self.address = address
        self.version = b"1.1" if kind and kind.keepalive else b"1.0"
        self.paths = [
            (path, leave)
            for path, leave, often in MIX
            for _ in range(often)
            if kind and path not in kind.unseen
        ]
        self.random = random.Random(seed)
        self.seen = collections.Counter()
        self.sock = None

    def run(self, requests):
        for _ in range(requests):
            path, leave = self.random.choice(self.paths)
            self.one(path.encode(), leave)
        self.hang_up()

    def one(self, path, leave):
        """Make a request that is surely answered once, and count what the answer said."""
        if self.sock is None:
            self.sock = connect(self.address)
        self.sock.sendall(b"GET %s HTTP/%s\r\nHost: x\r\n\r\n" % (path, self.version))
        head, body = self.read_head()
        self.seen[head[9:10].decode() + "xx"] += 1
        if path.startswith(b"/boom"):
            self.seen["errors"] += 1
        lower = head.lower()
        if leave:
            self.hang_up()
        elif b"connection: close" in lower or b"content-length" not in lower:
            while self.sock.recv(65536):
                pass
            self.hang_up()
        else:
            length = int(lower.partition(b"content-length: ")[2].split()[0])
            while len(body) < length:
                got = self.sock.recv(65536)
                assert got, "the server hung up in the middle of a body"
                body += got

    def read_head(self):
        data = b""
        while not (end := END_OF_HEAD.search(data)):
            got = self.sock.recv(65536)
            assert got, "the server hung up without an answer"
            data += got
        return data[: end.start()], data[end.end() :]

    def hang_up(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None


@each
def test_exact(serve, gunicorn, kind, background):
    """Thousands of requests of all kinds: requests, responses by class, errors; nothing in
    flight."""
    kind.available(gunicorn)
    many = gunicorn == "current" and kind.name in ("sync", "gthread") and not CELL
    requests = REQUESTS if many else FEWER
    args = ["--workers", "2", *kind.args, *(("--threads", "4") if kind.name == "gthread" else ())]
    with serve(*args, gunicorn=gunicorn, app=kind.app, tracebacks=None) as server:
        server.ready(2)
        clients = [Client(server.address, kind, seed) for seed in range(CLIENTS)]
        for client in clients:
            background.add(client.run, requests // CLIENTS)
        background.join()
        seen = sum((client.seen for client in clients), collections.Counter())
        errors = seen.pop("errors", 0)
        total = sum(seen.values())
        assert total == requests
        after = eventually(
            lambda: (s := server.settled())["requests"] >= total and s, "all of them counted"
        )
        # a request counted twice would come late: give it the time of some more answers
        for _ in range(20):
            after = server.settled()
            threading.Event().wait(0.01)
        assert after["requests"] == total
        assert {k: v for k, v in after["responses"].items() if v} == dict(seen)
        assert after["errors"] == errors
        assert sum(worker["requests"] for worker in after["workers"]) == total
        assert (after["calling"], after["writing"]) == (0, 0)
