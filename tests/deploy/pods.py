"""A real gunicorn as a pod on loopback, and the HTTP that probes, scrapes and clients ask it by."""

import asyncio
import contextlib
import time

from prometheus_client.parser import text_string_to_metric_families

from ..integration.servers import Server
from .kubelet import Container

FIGURES = ("gunicorn_requests_in_flight", "gunicorn_requests_waiting", "gunicorn_listener_queued")


async def get(address, path, timeout):
    """Return the status and body of an answer; 0 where there is none in time."""
    with contextlib.suppress(OSError, asyncio.TimeoutError, ValueError, IndexError):
        answer = await asyncio.wait_for(_ask(address, path), timeout)
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body
    return 0, b""


async def _ask(address, path):
    reader, writer = await asyncio.open_connection(*address)
    try:
        host = f"{address[0]}:{address[1]}"
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


def present(metrics):
    """Return how many requests a scrape says are there: what the shipped query sums up."""
    families = text_string_to_metric_families(metrics.decode())
    return sum(one.value for family in families for one in family.samples if one.name in FIGURES)


class Pod:
    """A gunicorn as the Deployment says, but for its addresses; probed as the kubelet does.

    Args:
        app: `manifests.App`.
        folder: a directory for its files.
    """

    def __init__(self, app, folder):
        self._app, self._folder = app, folder
        self.leaving = False
        self.container = Container(app, time.monotonic())
        self.probes = {True: 0, False: 0}
        self.slowest = 0.0
        self._busy = set()
        self._server = None

    async def start(self):
        """Start the gunicorn, and learn its addresses."""
        env = self._app.env | {"RAINDROPS_BIND": "127.0.0.1:0", "HOME": str(self._folder)}
        self._server = Server(self._folder, env=env, tracebacks=None).__enter__()
        self.application = await asyncio.to_thread(lambda: self._server.address)
        self.status = await asyncio.to_thread(lambda: self._server.status_address)
        self.container.start(time.monotonic())

    async def stop(self):
        """End it, and wait for that."""
        self.leaving = True
        if self._server is not None:
            server, self._server = self._server, None
            await asyncio.to_thread(server.__exit__, None, None, None)

    async def probe(self, changed):
        """Run its probes until it leaves; `changed` is called after each result."""
        tasks = set()
        while not self.leaving:
            for prober in self.container.due(time.monotonic()):
                if prober not in self._busy:
                    tasks.add(asyncio.create_task(self._run(prober, changed)))
            await asyncio.sleep(0.05)
        await asyncio.gather(*tasks)

    async def _run(self, prober, changed):
        self._busy.add(prober)
        started, probe = time.monotonic(), prober.probe
        address = self.status if probe.port == "status" else self.application
        code, _ = await get(address, probe.path, probe.timeout)
        self.probes[200 <= code < 400] += 1
        self.slowest = max(self.slowest, time.monotonic() - started)
        restart = self.container.record(prober, 200 <= code < 400, started)
        self._busy.discard(prober)
        if restart and not self.leaving:
            await self._restart(changed)
        changed()

    async def _restart(self, changed):
        self.container.restarts += 1
        self.container.start(float("inf"))
        changed()
        self._server.kill()
        server = self._server
        await asyncio.to_thread(server.__exit__, None, None, None)
        await self.start()
