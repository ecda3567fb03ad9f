"""Gunicorn's request path in one process: a real SyncWorker that nothing forked.

A request is written into one end of a connection over loopback and, from the other end, parsed and
handled by the worker as in its main loop, as a new connection's first; only the connection stays
open for the next one. With us, all our hooks have
run as the arbiter and the worker call them, so a slot of a real scoreboard is claimed, taken over
and counted in; it is read at the end, to be sure that what was measured did count.

    driver.py bare|empty|ours COUNT     handle COUNT requests: what `instructions.py` runs
"""

import os
import random
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import apps
from gunicorn import http
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.sync import SyncWorker

REQUEST = (
    b"GET /some/path?with=query HTTP/1.1\r\nHost: localhost:8000\r\n"
    b"User-Agent: benchmark\r\nAccept: */*\r\nX-Request-Start: t=%.3f\r\n\r\n"
) % time.time()
ANSWER = b"HTTP/1.1 200 OK\r\n"
ADDRESS = ("127.0.0.1", 50000)
BATCH = 50
"""Requests in one timing: their answers fit into the connection's buffers."""


class Kept(socket.socket):
    """The worker's end of the connection, which it does not get closed."""

    def shutdown(self, how: int) -> None:
        raise OSError

    def close(self) -> None:
        pass


class Driver:
    """A worker with gunicorn's own hooks (`bare`), with hooks that do nothing (`empty`), or with
    ours."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.handled = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._client = socket.create_connection(self._listener.getsockname())
        self._server = Kept(fileno=self._listener.accept()[0].detach())
        for end in (self._client, self._server):  # what is sent is not answered one by one
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cfg = Config()
        if kind == "empty":
            cfg.set("pre_request", lambda worker, req: None)
        log = Logger(cfg)
        self._worker = SyncWorker(1, os.getpid(), [self._listener], None, 30, cfg, log)
        self._worker.wsgi = apps.hello
        if kind == "ours":
            self._board = _enter(self._worker, cfg, log)

    def one(self) -> None:
        """Handle one request, from its first byte to the last one of the answer."""
        self._client.sendall(REQUEST)
        self._worker.handle(self._listener, self._server, ADDRESS)
        self._client.recv(65536)
        self.handled += 1

    def batch(self) -> float:
        """Return the seconds that the worker's handle takes for one request that is parsed."""
        worker, listener, server = self._worker, self._listener, self._server
        requests = iter([self._parsed() for _ in range(BATCH)])
        with mock.patch.object(http, "get_parser", lambda *_: requests):
            began = time.perf_counter()
            for _ in range(BATCH):
                worker.handle(listener, server, ADDRESS)
            ended = time.perf_counter()
        self._drain()
        self.handled += BATCH
        return (ended - began) / BATCH

    def _parsed(self) -> http.Request:
        self._client.sendall(REQUEST)
        return next(http.get_parser(self._worker.cfg, self._server, ADDRESS))

    def _drain(self) -> None:
        got = b""
        while got.count(ANSWER) < BATCH or not got.endswith(apps.BODY):
            got += self._client.recv(1 << 20)

    def check(self) -> None:
        """See that our scoreboard has all that was handled."""
        if self.kind == "ours":
            found = self._board.read()
            assert found.requests == found.responses[1] == self.handled, (found, self.handled)
            row = found.rows[0]
            assert (row.calling, row.writing, row.reading) == (0, 0, 0), found


def _enter(worker: SyncWorker, cfg: Config, log: Logger) -> object:
    """Run our hooks up to the first request, as gunicorn would; return another view of the
    scoreboard."""
    os.environ["RAINDROPS_BIND"] = ""
    from gunicorn_raindrops import hooks
    from gunicorn_raindrops.scoreboard import board as scoreboard

    for name in hooks.__all__:
        cfg.set(name, getattr(hooks, name))
    arbiter = SimpleNamespace(
        cfg=cfg, log=log, pid=os.getpid(), pidfile=None, LISTENERS=[], WORKERS={}, num_workers=1
    )
    arbiter.worker_class = SyncWorker
    cfg.on_starting(arbiter)
    board = scoreboard.Scoreboard.adopt(_memory())
    cfg.pre_fork(arbiter, worker)
    worker.pid = os.getpid()
    cfg.post_fork(arbiter, worker)
    cfg.post_worker_init(worker)
    assert worker.wsgi is not apps.hello
    return board


def _memory() -> int:
    """Return a new descriptor of the scoreboard, found by the name of its memfd."""
    for fd in Path("/proc/self/fd").iterdir():
        if fd.is_symlink() and "memfd:gunicorn-raindrops" in str(fd.readlink()):
            return os.dup(int(fd.name))
    raise RuntimeError("our hooks made no scoreboard")


def main() -> None:
    """Handle a number of requests, for a tool that counts instructions."""
    random.seed(0)
    driver = Driver(sys.argv[1])
    for _ in range(int(sys.argv[2])):
        driver.one()
    driver.check()


if __name__ == "__main__":
    main()
