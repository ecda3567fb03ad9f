"""Twice the capacity for ten minutes, for real: python -m tests.deploy.overload [SECONDS]

Real gunicorns on loopback are the pods. They have the options, settings, probes, targets and
policies of the shipped manifests; clients go to the ready ones in turn, and give up after ten
seconds. What Kubernetes does is done here in small: probes (`kubelet`), scrapes as the PodMonitor
says, KEDA and the autoscaler (`autoscaler`). A machine of two cores has room for half as many pods
as the ScaledObject allows. It ends with status 1 if there was a moment without a ready pod.
"""

import argparse
import asyncio
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

from . import manifests
from .autoscaler import SYNC, Autoscaler, Keda, Scaling
from .cluster import SERVICE, through_the_application
from .pods import Pod, get, present

PATIENCE = 10
AT_ONCE = 4000
"""Requests under way at once, at most."""


class Overload:
    """The pods, who probes, scrapes and scales them, and their clients."""

    def __init__(self, app, scaling, folder):
        self._app, self._scaling, self._folder = app, scaling, folder
        self._autoscaler, self._keda = Autoscaler(scaling), Keda(scaling)
        self._seen = {}
        self._tasks = set()
        self._turn = 0
        self.pods = []
        self.least_ready = None
        self.counts = dict.fromkeys(("answered", "gave up", "no ready pod"), 0)

    def ready(self):
        """Return the pods in service."""
        return [pod for pod in self.pods if pod.container.ready]

    def _task(self, coroutine):
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task):
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            raise task.exception()

    def _changed(self):
        if self.least_ready is not None:
            self.least_ready = min(self.least_ready, len(self.ready()))

    async def grow(self, to):
        """Start pods until there are so many."""
        new = [Pod(self._app, self._folder_of(n)) for n in range(len(self.pods), to)]
        self.pods += new
        await asyncio.gather(*(pod.start() for pod in new))
        for pod in new:
            self._task(pod.probe(self._changed))

    def _folder_of(self, number):
        folder = self._folder / str(number)
        folder.mkdir()
        return folder

    async def scrape(self):
        """Read the figures of all pods, again and again."""
        (endpoint,) = manifests.find("PodMonitor")["spec"]["podMetricsEndpoints"]
        interval, timeout = (float(endpoint[key][:-1]) for key in ("interval", "scrapeTimeout"))
        while True:
            await asyncio.gather(*(self._scrape_one(pod, endpoint["path"], timeout)
                                   for pod in self.pods))  # fmt: skip
            await asyncio.sleep(interval)

    async def _scrape_one(self, pod, path, timeout):
        code, body = await get(pod.status, path, timeout)
        if code == 200:
            self._seen[pod] = (time.monotonic(), present(body))

    def total(self):
        """Return what the query gives: the sum of the last values within its window."""
        since = time.monotonic() - self._scaling.window
        seen = [value for at, value in self._seen.values() if at > since]
        return sum(seen) if seen else None

    async def scale(self):
        """Decide how many pods there are to be, again and again; under this load never fewer."""
        while True:
            await asyncio.sleep(SYNC)
            current = len(self.pods)
            wanted = self._keda.wanted(self.total(), current)
            self._task(self.grow(self._autoscaler.decide(time.monotonic(), current, wanted)))

    async def clients(self, rate, seconds):
        """Send so many requests a second."""
        begin = time.monotonic()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0, begin + number / rate - time.monotonic()))
            ready = self.ready()
            if not ready:
                self.counts["no ready pod"] += 1
            elif len(self._tasks) < AT_ONCE:
                self._turn += 1
                self._task(self._client(ready[self._turn % len(ready)]))

    async def _client(self, pod):
        code, _ = await get(pod.application, f"/sleep?s={SERVICE}", PATIENCE)
        self.counts["answered" if code == 200 else "gave up"] += 1

    async def report(self):
        """Print a line every quarter of a minute."""
        begin = time.monotonic()
        print("second  pods  ready  there  answered  gave up  restarts", flush=True)
        while True:
            await asyncio.sleep(15)
            restarts = sum(pod.container.restarts for pod in self.pods)
            print(
                f"{time.monotonic() - begin:6.0f}  {len(self.pods):4}  {len(self.ready()):5}"
                f"  {self.total() or 0:5.0f}  {self.counts['answered']:8}"
                f"  {self.counts['gave up']:7}  {restarts:8}",
                flush=True,
            )

    async def run(self, seconds):
        """Overload the pods for so long; returns whether there always was a ready one."""
        try:
            await self.grow(self._scaling.least)
            while len(self.ready()) < self._scaling.least:
                await asyncio.sleep(0.1)
            self.least_ready = len(self.pods)
            for endless in (self.scrape(), self.scale(), self.report()):
                self._task(endless)
            rate = 2 * self._scaling.most * self._app.gunicorn.capacity / SERVICE
            await self.clients(rate, seconds)
        finally:
            await self._end()
        return self.least_ready > 0 and not self.counts["no ready pod"]

    async def _end(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(pod.stop() for pod in self.pods))


def wrong(app, name):
    """Return the app with a mistake."""
    if name == "ready-above":
        return dataclasses.replace(app, env=app.env | {"RAINDROPS_READY_ABOVE": "1"})
    return through_the_application(app, name)


def main():
    """Run it, and say what was seen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float, nargs="?", default=600)
    parser.add_argument("--wrong", choices=("ready-above", "readiness", "liveness"))
    arguments = parser.parse_args()
    app, scaling = manifests.app(), Scaling.of_keda()
    if arguments.wrong:
        app = wrong(app, arguments.wrong)
    scaling = dataclasses.replace(scaling, most=scaling.most // 2)
    with tempfile.TemporaryDirectory() as folder:
        overload = Overload(app, scaling, Path(folder))
        always = asyncio.run(overload.run(arguments.seconds))
    probes = {ok: sum(pod.probes[ok] for pod in overload.pods) for ok in (True, False)}
    answered = overload.counts["answered"]
    print(f"answered: {answered}, {answered / arguments.seconds:.1f} a second")
    print(
        f"fewest ready pods: {overload.least_ready}; requests that found none:"
        f" {overload.counts['no ready pod']}; probes: {probes[True]} good, {probes[False]} failed,"
        f" the slowest took {max(pod.slowest for pod in overload.pods):.2f} s"
    )
    return 0 if always else 1


if __name__ == "__main__":
    sys.exit(main())
