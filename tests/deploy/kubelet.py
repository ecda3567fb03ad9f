"""What the kubelet makes of the results of probes: https://kubernetes.io/docs/concepts/configuration
/liveness-readiness-startup-probes. Nothing in here waits or asks; the simulation and the real loop
(`overload`) share it.
"""


class Prober:
    """One probe of one container: a result holds once enough in a row say so.

    Args:
        probe: a `Probe`.
        result: what holds until then.
        now: when the container started.
    """

    def __init__(self, probe, result, now):
        self.probe = probe
        self.result = result
        self.due = now + probe.delay
        self._last = None
        self._run = 0

    def record(self, ok, now):
        """Take the result of a probe that was started now; returns what holds."""
        self.due = now + self.probe.period
        self._run = self._run + 1 if ok is self._last else 1
        self._last = ok
        if self._run >= (self.probe.successes if ok else self.probe.failures):
            self.result = ok
        return self.result


class Container:
    """The three probes of a container, from one start to the next."""

    def __init__(self, app, now):
        self._app = app
        self.restarts = 0
        self.start(now)

    def start(self, now):
        """It runs anew: nothing is known of it."""
        self._startup = Prober(self._app.startup, None, now)
        self._liveness = self._readiness = None

    @property
    def ready(self):
        """Whether it is in service."""
        return bool(self._readiness and self._readiness.result)

    def due(self, now):
        """Return the probers whose time has come; until it has started up, that probe only."""
        started = self._startup.result
        probers = (self._liveness, self._readiness) if started else (self._startup,)
        return [prober for prober in probers if prober.due <= now]

    def record(self, prober, ok, now):
        """Take a result; returns whether the container is to be restarted."""
        result = prober.record(ok, now)
        if prober is self._startup and result:
            self._liveness = Prober(self._app.liveness, True, now)
            self._readiness = Prober(self._app.readiness, False, now)
        return result is False and prober in (self._startup, self._liveness)
