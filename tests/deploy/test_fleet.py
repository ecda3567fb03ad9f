"""Three real gunicorns in one Prometheus, and what becomes of them in another one above it."""

import contextlib

import pytest
import yaml

from ..integration.load import Gate
from ..integration.servers import connect, eventually
from ..prometheus import Prometheus
from .rules import FOLDER, SITES, config, write_faster

pytestmark = [pytest.mark.once, pytest.mark.slow]

FACTOR = 10
SERVERS = {
    "small": ("--workers", "2"),
    "threads": ("--workers", "1", "--threads", "8"),
    "large": ("--workers", "6"),
}
HELD = {"small": 2, "threads": 3, "large": 1}
QUEUED = {"small": 4, "threads": 0, "large": 0}
CAPACITY = {"small": 2, "threads": 8, "large": 6}
LOAD = {"small": ("/", 30), "threads": ("/sleep?s=0.03", 20), "large": ("/sleep?s=0.3", 5)}
"""What each is asked for, and how often, one after the other."""

SUMS = {
    "job:gunicorn_requests_in_flight:sum": sum(HELD.values()),
    "job:gunicorn_listener_queued:sum": sum(QUEUED.values()),
    "job:gunicorn_requests_waiting:sum": 0,
    "job:gunicorn_requests_capacity:sum": sum(CAPACITY.values()),
    "job:gunicorn_demand:sum": sum(HELD.values()) + sum(QUEUED.values()),
    "job:gunicorn_saturation:ratio": 10 / 16,
    "job:gunicorn_utilization:ratio": 6 / 16,
    "job:gunicorn_servers:count": 3,
    "job:gunicorn_workers_wanted:sum": 9,
    'job_state:gunicorn_workers:sum{state="calling"}': 4,
    'job_state:gunicorn_workers:sum{state="idle"}': 5,
}
"""What the rules must record while requests are held and queued."""

RANGE = "30s"  # the shipped 5m
RATES = {
    "job:gunicorn_requests:rate5m": "gunicorn_requests_total",
    'job_code:gunicorn_responses:rate5m{code="2xx"}': 'gunicorn_responses_total{code="2xx"}',
    "job:gunicorn_worker_cpu_seconds:rate5m": "gunicorn_worker_cpu_seconds_total",
}
DURATION = "gunicorn_request_duration_seconds"


@pytest.fixture
def servers(serve):
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(serve(*args)) for name, args in SERVERS.items()}
        for name, server in found.items():
            server.ready(int(SERVERS[name][1]))
        yield found


@pytest.fixture
def text(servers, tmp_path):
    """The config of a Prometheus for them."""
    targets = ["{}:{}".format(*server.status_address) for server in servers.values()]
    return config(write_faster(tmp_path, FACTOR), targets, FACTOR)


@pytest.fixture
def prometheus(text, tmp_path):
    with Prometheus(tmp_path / "prometheus", text) as prometheus:
        yield prometheus


@pytest.fixture
def held(servers):
    """Returns a function that fills the servers as HELD and QUEUED say."""
    with contextlib.closing(Gate()) as gate, contextlib.ExitStack() as stack:

        def hold():
            for name, number in HELD.items():
                for _ in range(number):
                    stack.callback(gate.hold(servers[name].address).release)
            for name, number in QUEUED.items():
                for _ in range(number):
                    stack.enter_context(connect(servers[name].address))

        yield hold


def recorded(prometheus, name):
    """Return the last value that a rule has recorded, and when that was."""
    (found,) = prometheus.ask("query", query=f"{name}[5s]")["result"]
    when, value = found["values"][-1]
    return float(value), when


def rates(prometheus, name, when):
    """Return the labels of each server's series, and how much it grew a second at that time."""
    found = prometheus.ask("query", query=f"rate({name}[{RANGE}])", time=when)["result"]
    return [(one["metric"], float(one["value"][1])) for one in found]


def quantile(wanted, buckets):
    """Return a quantile of pairs of a bound and how many are at most that: linear in a bucket."""
    below, start = 0.0, 0.0
    rank = wanted * max(count for _, count in buckets)
    for bound, count in sorted(buckets):
        if count >= rank:
            return start + (bound - start) * (rank - below) / (count - below)
        below, start = count, bound
    raise AssertionError("no bucket has it")


def test_what_is_recorded_of_three_servers_is_their_sum(servers, prometheus, held):
    """Gauges while requests are held; rates and quantiles of the load before that."""
    eventually(lambda: prometheus.query("count_over_time(up[1m]) > 2") != [], "scrapes")
    for name, (path, number) in LOAD.items():
        for _ in range(number):
            assert servers[name].get(path)[0] == 200
    held()
    for name, value in SUMS.items():
        eventually(lambda n=name, v=value: prometheus.query(n) == [v], lambda n=name: n)

    for name, of in RATES.items():
        value, when = recorded(prometheus, name)
        found = rates(prometheus, of, when)
        assert len({labels["instance"] for labels, _ in found}) == 3
        assert value == pytest.approx(sum(rate for _, rate in found), rel=0.05)
        assert value > 0

    value, when = recorded(prometheus, f"job:{DURATION}:p99")
    found = rates(prometheus, f"{DURATION}_bucket", when)
    bounds = {float(labels["le"]) for labels, _ in found}
    summed = [(le, sum(r for labels, r in found if float(labels["le"]) == le)) for le in bounds]
    assert value == pytest.approx(quantile(0.99, summed), rel=0.05)
    assert 0.25 < value <= 0.5  # five of 55 took 0.3 s, all of them on one server


def shipped(name):
    """Return a shipped config."""
    return yaml.safe_load((FOLDER / name).read_text())


def has_the_sums_alone(prometheus):
    """Check that it gets what was recorded, with the site's label, and no server's series."""
    name = "job:gunicorn_requests_capacity:sum"
    expected = [({"__name__": name, "job": "gunicorn", "site": "paris"}, 16.0)]
    eventually(lambda: prometheus.samples(name) == expected, lambda: prometheus.samples(name))
    assert prometheus.query('count({__name__=~"gunicorn_.+"})') == []


def test_a_prometheus_above(text, tmp_path):
    """By federation and by remote write, with the shipped configs: only names and the interval are
    others. A second Prometheus stands for the store, which it can be."""
    receiver = Prometheus(tmp_path / "store", "", "--web.enable-remote-write-receiver")
    writing = shipped("remote-write.yml")
    (write,) = writing["remote_write"]
    write["url"] = write["url"].replace("store.example:9090", receiver.address)
    below = yaml.safe_load(text)
    below["global"] |= writing["global"]
    below["remote_write"] = [write]

    with receiver, Prometheus(tmp_path / "below", yaml.safe_dump(below)) as prometheus:
        federating = shipped("federation.yml")
        (job,) = federating["scrape_configs"]
        job |= {"scrape_interval": "1s", "static_configs": [{"targets": [prometheus.address]}]}
        federating["rule_files"] = [str(path) for path in write_faster(tmp_path, FACTOR, SITES)]
        with Prometheus(tmp_path / "above", yaml.safe_dump(federating)) as above:
            has_the_sums_alone(above)
            name = "sites:gunicorn_saturation:ratio"
            eventually(lambda: above.query(name) == [0.0], name)
        has_the_sums_alone(receiver)
