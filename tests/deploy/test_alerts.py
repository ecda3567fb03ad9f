"""Each shipped alert fires in its scenario, on real gunicorns and a real Prometheus; no other does.

All servers are watched by one Prometheus with the shipped rules. It is ten times as fast as the
shipped one: rules.py scales every interval, `for` and range, and nothing else. One test goes at the
shipped pace.
"""

import contextlib
import threading
import time

import pytest

from ..integration.load import Gate
from ..integration.servers import Background, eventually
from ..prometheus import Prometheus, needs_prometheus
from .rules import RULES, alerts, config, write_faster
from .scenarios import SCENARIOS, Trouble

pytestmark = [pytest.mark.once, pytest.mark.slow]

FACTOR = 10
CALM = 20
"""Scrapes before the trouble begins: every mean has a past then."""
LASTS = 60
"""Seconds of trouble: more than the longest range and the longest `for` together, ten times as
fast, and the 15 s of a stuck request."""
BOUND = 120


class Watch:
    """What a Prometheus has seen firing so far, by server."""

    def __init__(self, prometheus, names):
        self._prometheus = prometheus
        self._names = names

    def now(self):
        """Return pairs of the scenario's name and the alert that fires: as its users see them."""
        found = self._prometheus.ask("alerts")["alerts"]
        firing = [alert["labels"] for alert in found if alert["state"] == "firing"]
        return {(self._names[one["instance"]], one["alertname"]) for one in firing}

    def ever(self):
        """Return the same of all that have ever fired."""
        pairs = "count by (instance, alertname) (count_over_time(ALERTS{alertstate='firing'}[1h]))"
        found = [labels for labels, _ in self._prometheus.samples(pairs)]
        return {(self._names[one["instance"]], one["alertname"]) for one in found}


@pytest.fixture
def servers(tmp_path):
    """A server for each scenario, all of them serving."""
    with contextlib.ExitStack() as stack:
        found = {
            name: stack.enter_context(one.server(tmp_path / name))
            for name, one in SCENARIOS.items()
        }
        for server in found.values():
            eventually(server.ready_workers, "a worker that serves")
        yield found


def test_each_alert_fires_in_its_scenario_and_in_no_other(servers, tmp_path):
    needs_prometheus()
    names = {"{}:{}".format(*server.status_address): name for name, server in servers.items()}
    text = config(write_faster(tmp_path, FACTOR), names, FACTOR)
    over, background = threading.Event(), Background()
    with Prometheus(tmp_path, text) as prometheus:
        watch = Watch(prometheus, names)
        scrapes = "min(count_over_time(up[1h]))"
        eventually(lambda: prometheus.query(f"{scrapes} >= {CALM}"), "calm", BOUND)
        assert watch.ever() <= {pair for pair in expected() if pair[0].startswith("worker")}
        try:
            seen = in_trouble(servers, tmp_path, watch, background, over)
        finally:
            over.set()
            background.join()
        assert seen == expected()
        assert watch.ever() == expected()


def in_trouble(servers, folder, watch, background, over):
    """Let each scenario have its trouble; returns the alerts that were seen."""
    seen, began = set(), time.monotonic()
    for name, row in SCENARIOS.items():
        fired = lambda name=name: {alert for one, alert in seen if one == name}  # noqa: E731
        trouble = Trouble(row, servers[name], folder / name, over, fired)
        background.add(row.act, trouble)
    while time.monotonic() < began + (LASTS if expected() <= seen else BOUND):
        seen |= watch.now()
        over.wait(0.2)
    return seen


def expected():
    """Return pairs of a scenario and an alert that it must bring."""
    return {(name, alert) for name, row in SCENARIOS.items() for alert in row.alerts}


def test_a_stuck_request_is_told_in_time(serve, tmp_path):
    """At the shipped pace, and before gunicorn's own timeout ends its worker."""
    needs_prometheus()
    with contextlib.closing(Gate()) as gate, serve("--workers", "2") as server:
        server.ready(2)
        address = "{}:{}".format(*server.status_address)
        with Prometheus(tmp_path, config(RULES, [address], 1)) as prometheus:
            watch = Watch(prometheus, {address: "it"})
            held = gate.hold(server.address)
            try:
                eventually(lambda: ("it", "StuckRequest") in watch.now(), "the alert", BOUND)
                assert held.pid in server.workers()
                assert server.status()["exits"]["timeout"] == 0
            finally:
                held.release()


def test_each_alert_has_a_scenario_of_its_own():
    """In which it is the only one to fire, with the exceptions for which the table has reasons."""
    alone = {next(iter(row.alerts)) for row in SCENARIOS.values() if len(row.alerts) == 1}
    assert alone == set(alerts())
