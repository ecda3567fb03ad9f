"""A snapshot in Prometheus's formats, read back by its own parsers."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from gunicorn_raindrops import PrometheusCollector, sampler
from gunicorn_raindrops.exporters import prometheus
from gunicorn_raindrops.exporters.families import FAMILIES, INFO
from gunicorn_raindrops.scoreboard.records import RequestRecord
from gunicorn_raindrops.settings import load
from gunicorn_raindrops.snapshot import Snapshot
from gunicorn_raindrops.status.app import StatusApp

from ..bounds import WAIT
from .test_json import SNAPSHOT, TCP, TIMED, UNIX, distribution

OPEN = "application/openmetrics-text; version=1.0.0"

EXPECTED = {
    ("gunicorn_worker_cpu_seconds_total", "0"): 1.5,
    ("gunicorn_worker_resident_memory_bytes", "0"): 4096,
    ("gunicorn_worker_lag_seconds", "0"): 0.25,
    ("gunicorn_info", "27.0", "3.12.1", "0.1", "sync"): 1,
    ("gunicorn_start_time_seconds",): 1e9 - 11.75,
    ("gunicorn_workers", "starting"): 0,
    ("gunicorn_workers", "idle"): 0,
    ("gunicorn_workers", "reading"): 0,
    ("gunicorn_workers", "calling"): 1,
    ("gunicorn_workers", "writing"): 0,
    ("gunicorn_workers", "finishing"): 0,
    ("gunicorn_workers_wanted",): 2,
    ("gunicorn_workers_limit",): 4,
    ("gunicorn_workers_untracked",): 0,
    ("gunicorn_websockets_open",): 2,
    ("gunicorn_requests_in_flight",): 1,
    ("gunicorn_requests_calling",): 1,
    ("gunicorn_requests_writing",): 0,
    ("gunicorn_requests_reading",): 1,
    ("gunicorn_requests_waiting",): 1,
    ("gunicorn_requests_total",): 7,
    ("gunicorn_request_errors_total",): 1,
    ("gunicorn_responses_total", "1xx"): 0,
    ("gunicorn_responses_total", "2xx"): 5,
    ("gunicorn_responses_total", "3xx"): 1,
    ("gunicorn_responses_total", "4xx"): 0,
    ("gunicorn_responses_total", "5xx"): 1,
    ("gunicorn_requests_capacity",): 2,
    ("gunicorn_utilization_ratio",): 1.0,
    ("gunicorn_saturation_ratio",): 2.0,
    ("gunicorn_listener_active", "127.0.0.1:80"): 3,
    ("gunicorn_listener_queued", "127.0.0.1:80"): 2,
    ("gunicorn_listener_waiting", "127.0.0.1:80"): 1,
    ("gunicorn_listener_queue_limit", "127.0.0.1:80"): 64,
    ("gunicorn_listener_drops_total", "127.0.0.1:80"): 0,
}
"""By name and label; the unix listener's figures are unknown, so they are not there, nor is the
age of a request that is not shown."""


def samples(families):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_text():
    """Every figure that is known, under the names that dashboards rely on."""
    body, content_type = prometheus.encode(SNAPSHOT, None)
    assert samples(text_families(body.decode())) == EXPECTED
    assert content_type.startswith("text/plain; version=0.0.4")


def test_open_metrics():
    """Where the scraper accepts it, and the very same figures."""
    body, content_type = prometheus.encode(SNAPSHOT, f"{OPEN},text/plain;q=0.5")
    assert body.endswith(b"# EOF\n")
    assert samples(open_families(body.decode())) == EXPECTED
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/html", "application/json", ",;,", "text/plain"]
)
def test_whatever_else_is_accepted(accept):
    """It gets the text, which is Prometheus's default."""
    assert prometheus.encode(SNAPSHOT, accept) == prometheus.encode(SNAPSHOT, None)


@pytest.mark.parametrize("version", ["nonsense", "1.0.0.0.0.0", "-1", "", "99999999999999999999"])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_a_strange_version(kind, version):
    """It fails nobody's scrape."""
    body, _ = prometheus.encode(SNAPSHOT, f"{kind};version={version};escaping=nonsense")
    families = open_families if body.endswith(b"# EOF\n") else text_families
    assert samples(families(body.decode())) == EXPECTED


TIMES = {
    ("gunicorn_worker_busy_seconds_total", "0"): 2.5,
    ("gunicorn_worker_busy_seconds_total", "1"): 0.5,
    ("gunicorn_worker_exits_total", "killed"): 2,
    ("gunicorn_worker_exits_total", "graceful"): 1,
    ("gunicorn_requests_calling_max", "10s"): 2,
    ("gunicorn_requests_calling_max", "since"): 3,
    ("gunicorn_requests_writing_max", "10s"): 1,
    ("gunicorn_requests_writing_max", "since"): 1,
    ("gunicorn_listeners_queued_max", "10s"): 5,
    ("gunicorn_requests_waiting_max", "10s"): 4,
    ("gunicorn_request_duration_seconds_count",): 2,
    ("gunicorn_request_duration_seconds_sum",): 2,
    ("gunicorn_request_queue_seconds_count",): 1,
    ("gunicorn_request_queue_seconds_sum",): 0.25,
    ("gunicorn_request_header_queue_seconds_count",): 0,
    ("gunicorn_request_header_queue_seconds_sum",): 0,
    ("gunicorn_request_oldest_seconds",): 0.25,
    ("gunicorn_request_queue_ignored_total",): 3,
}


BOUNDS = [
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1, 2.5, 5, 7.5, 10, 30, 60, math.inf),
]


@pytest.mark.parametrize(
    ("accept", "parse"), [(None, text_families), (OPEN, open_families)], ids=["text", "open"]
)
def test_times(accept, parse):
    """Seconds, and histograms whose counts are exact, at the bounds that objectives are set at."""
    body, _ = prometheus.encode(TIMED, accept)
    found = samples(parse(body.decode()))
    buckets = {key: value for key, value in found.items() if key[0].endswith("_bucket")}
    assert {key: found[key] for key in found if key not in buckets} == EXPECTED | TIMES
    took = {float(key[-1]): value for key, value in buckets.items() if "request_duration" in key[0]}
    assert took == {bound: (bound >= 0.5) + (bound >= 1.5) for bound in BOUNDS}
    assert list(took) == BOUNDS
    waited = [key for key in buckets if "queue" in key[0]]
    assert len(waited) == 2 * len(took)


@pytest.mark.parametrize(("reads", "count", "is_there"), [(0, 0, 0), (1, 0, 1), (0, 1, 1)])
def test_where_no_proxy_is_read(reads, count, is_there):
    """The histogram of its headers has no samples, which a scrape would pay for."""
    seconds = {"socket": distribution(), "header": distribution(*[0.5] * count)}
    sample = dataclasses.replace(TIMED, reads_headers=bool(reads), queue_seconds=seconds)
    assert (b"header_queue_seconds_sum" in prometheus.encode(sample, None)[0]) == is_there


@pytest.mark.parametrize("accept", [None, OPEN])
@pytest.mark.parametrize("sample", [SNAPSHOT, TIMED], ids=["little", "whole"])
def test_as_prometheus_client_writes_it(accept, sample):
    """Line for line, but for the notation of large numbers."""
    encoder, _ = choose_encoder(accept)
    theirs = encoder(PrometheusCollector(lambda: sample)).decode().splitlines()
    ours = prometheus.encode(sample, accept)[0].decode().splitlines()
    assert list(map(number, ours)) == list(map(number, theirs))


def number(line):
    """Return a line with its last word as a number, if it is a sample's."""
    words, _, last = line.rpartition(" ")
    return line if line.startswith("#") else (words, float(last))


def test_the_oldest_request():
    """0 where there is none; unknown where those in flight are not shown."""

    def oldest(**changes):
        body, _ = prometheus.encode(dataclasses.replace(TIMED, **changes), None)
        return samples(text_families(body.decode())).get(("gunicorn_request_oldest_seconds",))

    (worker,) = TIMED.workers
    other = dataclasses.replace(worker, slot=1, current=RequestRecord("GET", "/", 7.5))
    assert oldest(workers=(worker, other)) == 7.5
    hidden = dataclasses.replace(worker, current=None)
    assert (oldest(workers=(hidden,)), oldest(workers=None)) == (None, None)
    assert oldest(workers=(hidden,), calling=0, writing=0) == 0


SUMMED = {"state", "slot", "reason", "code", "listener"}


def test_a_sum_over_a_label_means_something():
    """It counts each thing once. Windows overlap: of their marks the maximum means something. A
    request may have waited by the kernel's clock and by a proxy's: two families."""
    for family in FAMILIES:
        if family.kind != INFO:
            ends = {"window"} if family.name.endswith("_max") else SUMMED
            assert set(family.labels) <= ends, family.name


def test_the_unknown_has_no_sample():
    """None is never shown as 0."""
    nothing = {
        field.name: None
        for field in dataclasses.fields(Snapshot)
        if field.name
        not in ("time", "uptime", "started", "arbiter", "calling", "writing", "listeners")
    }
    alone = dataclasses.replace(SNAPSHOT.arbiter, workers_wanted=None)
    unknown = dataclasses.replace(SNAPSHOT, **nothing, arbiter=alone, listeners=(UNIX,))
    body, _ = prometheus.encode(unknown, None)
    names = {
        *("gunicorn_info", "gunicorn_start_time_seconds"),
        *("gunicorn_requests_in_flight", "gunicorn_requests_calling", "gunicorn_requests_writing"),
    }
    assert {name for name, *_ in samples(text_families(body.decode()))} == names


def test_strange_addresses():
    """Quotes and bytes that are not UTF-8 stand in a label as text."""
    one = dataclasses.replace(TCP, address='/run/"a"\n\udcff\\.sock')
    body, _ = prometheus.encode(dataclasses.replace(SNAPSHOT, listeners=(one,)), None)
    found = samples(text_families(body.decode()))
    assert found["gunicorn_listener_active", '/run/"a"\n\\xff\\.sock'] == 3


def test_series_do_not_grow_with_restarts():
    """Another pid and age make no other series."""
    (worker,) = SNAPSHOT.workers
    later = dataclasses.replace(worker, pid=999, age=1000)
    again = dataclasses.replace(SNAPSHOT, workers=(later,))
    assert prometheus.encode(again, None) == prometheus.encode(SNAPSHOT, None)


def test_in_a_registry_of_the_applications_own(monkeypatch):
    """It yields this worker's server; where there is none, nothing."""
    registry = CollectorRegistry()
    registry.register(PrometheusCollector())
    monkeypatch.setattr(sampler, "_of_this_process", [])
    assert generate_latest(registry) == b""
    sampler.set_for_this_process(lambda: SNAPSHOT)
    assert samples(text_families(generate_latest(registry).decode())) == EXPECTED


def app(**keywords):
    return StatusApp(load(keywords, {}), lambda: SNAPSHOT, print)


@pytest.mark.parametrize("path", ["/_raindrops.prom", "/metrics"])
def test_routes(path):
    """Both URLs negotiate, and say so to caches."""
    for accept in (None, OPEN):
        answer = app().answer("GET", path, None, accept)
        body, content_type = prometheus.encode(SNAPSHOT, accept)
        assert (answer.status, answer.body, answer.content_type) == (200, body, content_type)
        assert ("Vary", "Accept") in answer.all_headers()


def test_metrics_of_the_application_are_its_own():
    """With `expose` on, /metrics on the application's listeners stays the application's."""
    status = app(expose=True)
    environ = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "127.0.0.1", "HTTP_ACCEPT": OPEN}
    assert not status.exposes_to({**environ, "PATH_INFO": "/metrics"})
    exposed = {**environ, "PATH_INFO": "/_raindrops.prom"}
    assert status.exposes_to(exposed)
    assert status.exposed(exposed).body.endswith(b"# EOF\n")


def test_a_damaged_prometheus_client():
    """One line says so; the rest of the status is there."""
    code = """
import json, sys
sys.modules["prometheus_client"] = None
from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status.app import StatusApp
from tests.exporters.test_json import SNAPSHOT
status = StatusApp(load({}, {}), lambda: SNAPSHOT, print)
found = [status.answer("GET", "/_raindrops" + end) for end in ("", ".json", ".prom")]
print(json.dumps([[one.status, one.body.decode()] for one in found]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=WAIT
    )
    (text, _), (whole, _), missing = json.loads(done.stdout)
    assert (text, whole) == (200, 200)
    assert missing == [501, "prometheus_client cannot be imported\n"]


@pytest.mark.parametrize("scheme", ["dots", "values", "underscores", "allow-utf-8"])
def test_names_in_other_escapes(scheme):
    """A client that wants some has them, and is told so."""
    body, content_type = prometheus.encode(SNAPSHOT, f"{OPEN};escaping={scheme}")
    assert content_type.endswith(f"escaping={scheme}")
    plain = scheme in ("underscores", "allow-utf-8")
    assert (b"\ngunicorn_workers{" in body) == plain


def test_promtool():
    """Prometheus's own linter has nothing to say."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool (Debian: prometheus)")
    for sample in (SNAPSHOT, TIMED):
        body, _ = prometheus.encode(sample, None)
        command = [promtool, "check", "metrics", "--extended"]
        done = subprocess.run(command, input=body, capture_output=True, timeout=WAIT, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
