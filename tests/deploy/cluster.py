"""A cluster in virtual time: pods under load, the kubelet's probes, Prometheus, the autoscaler.

Requests are a fluid: a pod that has more of them than it can run serves at its capacity, and the
rest waits in it. The status address answers whatever the load (integration tests show that it
does); the application's own port answers when the probe's turn has come. Nothing is random but the
instants at which the probes of each pod begin.
"""

import random
from dataclasses import dataclass, field, replace

from .autoscaler import SYNC, Autoscaler, Keda, by_pods
from .kubelet import Container
from .manifests import Probe

STEP = 0.5
SERVICE = 0.5
"""Seconds of a request in the application."""
SCHEDULING, BOOT = 10, 5
"""Seconds until the kubelet starts a pod's container, and until a worker takes requests then."""
SCRAPE = 10
POLLING = 30
"""Seconds from one look of KEDA's at a metric that fails to the next, for its fallback."""
BACKOFF = (10, 300)
"""The kubelet's wait before it starts a container the second time, doubled each time, and its
bound; the first time it does not wait."""


@dataclass
class Pod:
    """A gunicorn in a container, started at an instant.

    Attributes:
        present: requests in it, running and waiting.
        above: the setting `ready_above`.
        leaves: when it is gone; None while it is wanted.
    """

    app: object
    starts: float
    above: float | None = None
    present: float = 0
    leaves: float | None = None
    container: Container = field(init=False)

    def __post_init__(self):
        self.container = Container(self.app, self.starts)
        self.boots = self.starts + BOOT

    @property
    def capacity(self):
        """Requests that run at once."""
        return self.app.gunicorn.capacity

    def serves(self, now):
        """Tell whether a worker takes requests."""
        return now >= self.boots

    def step(self, offered):
        """Take so many requests, and serve for one step."""
        served = min(self.present, self.capacity) / SERVICE * STEP
        self.present += min(offered, self.app.gunicorn.room - self.present) - served

    def answers(self, probe, now):
        """Tell whether a probe succeeds."""
        if not self.serves(now):
            return False
        if self.app.ports[probe.port] == self.app.ports["status"]:
            saturation = self.present / self.capacity
            at_ready = probe.path == self.app.env["RAINDROPS_READY"]
            return not (at_ready and self.above is not None and saturation > self.above)
        return self.present / self.capacity * SERVICE + SERVICE <= probe.timeout

    def probe(self, now):
        """Run the probes that are due."""
        if now < self.starts or self.leaves is not None:
            return
        for prober in self.container.due(now):
            if self.container.record(prober, self.answers(prober.probe, now), now):
                self._restart(now)
                return

    def _restart(self, now):
        again = self.container.restarts
        wait = min(BACKOFF[0] * 2 ** (again - 1), BACKOFF[1]) if again else 0
        ends = min(self.present / self.capacity * SERVICE, self.app.gunicorn.graceful_timeout)
        self.container.restarts += 1
        self.present = 0
        self.starts = now + ends + wait
        self.boots = self.starts + BOOT
        self.container.start(self.starts)


class Prometheus:
    """The last scrapes of each pod."""

    def __init__(self):
        self.lost = lambda pod, now: False
        self._seen = {}

    def scrape(self, pods, now):
        """Ask all pods but lost ones; those that are gone are forgotten."""
        for pod in pods:
            if pod.serves(now) and not self.lost(pod, now):
                self._seen[id(pod)] = (now, pod.present)

    def total(self, window, now):
        """Return the sum of what was seen within the window; None without any."""
        seen = [value for at, value in self._seen.values() if at > now - window]
        return sum(seen) if seen else None

    def each(self, pods, now):
        """Return the figures of the pods that the last scrape reached, and how many it missed."""
        found = [self._seen.get(id(pod), (-1, 0)) for pod in pods]
        values = [value for at, value in found if at > now - SCRAPE - STEP]
        return values, len(pods) - len(values)


class Cluster:
    """The whole; `run` gives how many pods were ready at each step.

    Args:
        app: `manifests.App`.
        scaling: of the autoscaler.
        uses_keda: whether KEDA feeds it, or the adapter.
        above: the setting `ready_above` of the pods.
    """

    def __init__(self, app, scaling, *, uses_keda=True, above=None, seed=17):
        self._app, self._above = app, above
        self._scaling, self._uses_keda = scaling, uses_keda
        self._autoscaler, self._keda = Autoscaler(scaling), Keda(scaling)
        self._random = random.Random(seed)
        self.prometheus = Prometheus()
        self.pods = [self._new(-60) for _ in range(scaling.least)]
        self.now = 0.0
        self.ready = []
        self.replicas = []

    def _new(self, now):
        jitter = self._random.uniform(0, self._app.liveness.period)
        return Pod(self._app, now + SCHEDULING + jitter, self._above)

    def wanted_pods(self):
        """Return the pods that are not leaving."""
        return [pod for pod in self.pods if pod.leaves is None]

    def run(self, seconds, rate):
        """Let time go by under so many requests a second."""
        until = self.now + seconds
        while self.now < until:
            self._step(rate)
            self.now += STEP

    def _step(self, rate):
        for pod in self.pods:
            pod.probe(self.now)
        ready = [pod for pod in self.wanted_pods() if pod.container.ready]
        for pod in self.pods:
            if pod.serves(self.now):
                pod.step(rate * STEP / len(ready) if pod in ready else 0)
        self.pods = [pod for pod in self.pods if pod.leaves is None or pod.leaves > self.now]
        if self.now % SCRAPE == 0:
            self.prometheus.scrape(self.pods, self.now)
        if self.now % SYNC == 0:
            self._scale()
        self.ready.append(len(ready))
        self.replicas.append(len(self.wanted_pods()))

    def _scale(self):
        pods = self.wanted_pods()
        wanted = self._autoscaler.decide(self.now, len(pods), self._wanted(pods))
        self.pods += [self._new(self.now) for _ in range(wanted - len(pods))]
        for pod in pods[wanted:]:
            pod.leaves = self.now + self._app.pre_stop

    def _wanted(self, pods):
        target = self._scaling.target
        if not self._uses_keda:
            return by_pods(*self.prometheus.each(pods, self.now), target, len(pods))
        return self._keda.wanted(self.prometheus.total(self._scaling.window, self.now), len(pods))


def through_the_application(app, name):
    """Return the app with one probe as it is often written: it asks the application, with the
    API's defaults."""
    return replace(app, **{name: Probe("http", "/")})
