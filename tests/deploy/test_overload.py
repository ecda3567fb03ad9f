"""Twice the capacity for ten minutes, in virtual time: no moment without a ready pod.

Probes, limits and targets are read from the shipped manifests. `cluster` models pods, kubelet,
Prometheus and autoscaler; no real cluster is here. `make overload` does the same with real
gunicorns, in real time.
"""

import dataclasses

import pytest

from . import manifests
from .autoscaler import Autoscaler, Scaling, by_pods, by_total
from .cluster import SCRAPE, SERVICE, Cluster, through_the_application
from .kubelet import Prober

pytestmark = pytest.mark.once

MINUTE = 60


@pytest.fixture(scope="module")
def app():
    """The shipped Deployment's pod."""
    return manifests.app()


SCALERS = {"keda": (Scaling.of_keda, True), "hpa": (Scaling.of_hpa, False)}


@pytest.fixture(params=SCALERS)
def scaler(request):
    """Each of the two autoscalers: what it says, and whether KEDA feeds it."""
    make, uses_keda = SCALERS[request.param]
    return {"scaling": make(), "uses_keda": uses_keda}


def capacity(app, pods):
    """Return how many requests a second so many pods can serve."""
    return pods * app.gunicorn.capacity / SERVICE


def overloaded(app, pods, **kwargs):
    """Return a cluster after a minute at half, and ten at twice what so many pods can serve; from
    the second minute on it has been watched."""
    cluster = Cluster(app, **kwargs)
    cluster.run(MINUTE, capacity(app, kwargs["scaling"].least) / 2)
    assert cluster.ready[-1] == kwargs["scaling"].least
    cluster.ready.clear()
    cluster.run(10 * MINUTE, 2 * capacity(app, pods))
    return cluster


def test_twice_what_the_first_pods_can_serve(app, scaler):
    """There is always a ready pod, and in the end there are enough: nobody waits."""
    cluster = overloaded(app, scaler["scaling"].least, **scaler)
    assert min(cluster.ready) >= scaler["scaling"].least
    assert all(pod.present <= pod.capacity for pod in cluster.wanted_pods())
    assert sum(pod.container.restarts for pod in cluster.pods) == 0


def test_twice_what_all_pods_can_serve(app, scaler):
    """No scaling helps, all pods are full to the last place in the queue, and all stay ready."""
    cluster = overloaded(app, scaler["scaling"].most, **scaler)
    assert min(cluster.ready) >= scaler["scaling"].least
    assert cluster.ready[-1] == scaler["scaling"].most
    assert sum(pod.container.restarts for pod in cluster.pods) == 0


WRONG = {
    "readiness by saturation": lambda app: (app, 1.0),
    "liveness by the application": lambda app: (through_the_application(app, "liveness"), None),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_the_manifest_warns_of(app, scaler, wrong):
    """Each of these takes all pods away at some moment: the assertion above can fail."""
    app, above = WRONG[wrong](app)
    cluster = overloaded(app, scaler["scaling"].most, above=above, **scaler)
    assert min(cluster.ready) == 0


def test_readiness_by_the_application(app, scaler):
    """Not all pods leave at once, but they leave and come back: a quarter of them is missing."""
    app = through_the_application(app, "readiness")
    cluster = overloaded(app, scaler["scaling"].most, **scaler)
    half = cluster.ready[len(cluster.ready) // 2 :]
    assert sum(half) / len(half) < 0.8 * scaler["scaling"].most


def test_it_comes_back(app, scaler):
    """After the overload, down to the least number of pods, by a quarter a minute at most."""
    cluster = overloaded(app, scaler["scaling"].least, **scaler)
    most = cluster.replicas[-1]
    cluster.replicas.clear()
    cluster.run(20 * MINUTE, capacity(app, 1))
    assert cluster.replicas[0] == most
    assert cluster.replicas[-1] == scaler["scaling"].least
    falls = [(a, b) for a, b in zip(cluster.replicas, cluster.replicas[1:], strict=False) if b < a]
    assert falls
    assert all(b >= a * 0.75 - 1 for a, b in falls)


def loses(cluster, share, since):
    """From an instant on let scrapes of some pods fail."""
    lost = {id(pod) for pod in cluster.pods[: int(len(cluster.pods) * share)]}
    cluster.prometheus.lost = lambda pod, now: now >= since and (share == 1 or id(pod) in lost)


def test_a_lost_prometheus_takes_no_pod_away(app, scaler):
    """Nothing is known for ten minutes: there are as many pods as before."""
    cluster = overloaded(app, scaler["scaling"].least, **scaler)
    before = len(cluster.wanted_pods())
    loses(cluster, 1, cluster.now)
    cluster.run(10 * MINUTE, 2 * capacity(app, scaler["scaling"].least))
    assert len(cluster.wanted_pods()) >= before


def test_without_the_two_settings_it_does(app):
    """KEDA's defaults take a lost Prometheus for a figure of 0."""
    scaling = dataclasses.replace(Scaling.of_keda(), null_is_error=False, fallback=None)
    cluster = overloaded(app, scaling.least, scaling=scaling)
    before = len(cluster.wanted_pods())
    loses(cluster, 1, cluster.now)
    cluster.run(10 * MINUTE, 2 * capacity(app, scaling.least))
    assert len(cluster.wanted_pods()) == scaling.least < before


def test_keda_falls_back_to_more_pods(app):
    """When nothing is known from the start, there are soon those that `fallback` says."""
    scaling = Scaling.of_keda()
    cluster = Cluster(app, scaling)
    loses(cluster, 1, 0)
    cluster.run(5 * MINUTE, capacity(app, 1))
    assert len(cluster.wanted_pods()) == scaling.fallback["replicas"] > scaling.least


def fewest_after_lost_scrapes(app, scaling, **kwargs):
    """Return the fewest pods after half of the scrapes fail for half a minute, and the number
    before; no window of the autoscaler's hides a mistake."""
    behavior = scaling.behavior | {"scaleDown": hasty(scaling.behavior["scaleDown"])}
    scaling = dataclasses.replace(scaling, behavior=behavior)
    cluster = overloaded(app, scaling.least, scaling=scaling, **kwargs)
    before = cluster.replicas[-1]
    cluster.replicas.clear()
    loses(cluster, 0.5, cluster.now)
    cluster.run(30, 2 * capacity(app, scaling.least))
    return min(cluster.replicas), before


def hasty(behavior):
    """Return the behavior with no window."""
    return behavior | {"stabilizationWindowSeconds": 0}


def test_half_of_the_scrapes_fail_for_a_while(app, scaler):
    """It changes nothing: last values count, or the missing are thought of."""
    fewest, before = fewest_after_lost_scrapes(app, **scaler)
    assert fewest == before


def test_without_last_values_it_does(app):
    """A sum of what was scraped last takes pods away."""
    scaling = dataclasses.replace(Scaling.of_keda(), window=SCRAPE)
    fewest, before = fewest_after_lost_scrapes(app, scaling)
    assert fewest < before


# What follows pins the parts to what Kubernetes documents.


def test_results_of_a_probe_need_a_row():
    """`failureThreshold` in a row, and `successThreshold` in a row."""
    prober = Prober(manifests.Probe("status", "/", failures=3, successes=2), True, 0)
    held = [prober.record(ok, 0) for ok in (False, False, True, False, False, False, True, True)]
    assert held == [True, True, True, True, True, False, False, True]


def test_next_probe_is_a_period_later():
    """And the first one after its delay."""
    prober = Prober(manifests.Probe("status", "/", delay=7, period=5), True, 100)
    assert prober.due == 107
    prober.record(True, 108)
    assert prober.due == 113


def test_a_tenth_is_tolerated():
    """Both ways."""
    assert by_total(32.9, 3, 10) == by_total(27.1, 3, 10) == 10
    assert by_total(33.1, 3, 10) == 12
    assert by_total(26, 3, 10) == 9


def test_missing_pods_speak_against_a_change():
    """They count as idle where more are wanted, and as just right where fewer are."""
    assert by_pods([6, 6], 0, 3, 2) == 4
    assert by_pods([6, 6], 2, 3, 4) == 4
    assert by_pods([9, 9], 2, 3, 4) == 6
    assert by_pods([0, 0], 2, 3, 4) == 2
    assert by_pods([], 4, 3, 4) == 4


def test_policies_limit_a_step():
    """Up by the greater of the two policies, down by a quarter a minute, within the limits."""
    up = Autoscaler(Scaling.of_keda())
    assert [up.decide(15 * i, now, 100) for i, now in enumerate((3, 7))] == [7, 12]
    down = Autoscaler(Scaling.of_keda())
    assert down.decide(0, 12, 12) == 12
    assert down.decide(299, 12, 3) == 12
    assert down.decide(301, 12, 3) == 9
    assert down.decide(316, 9, 3) == 9
    assert down.decide(362, 9, 3) == 6
