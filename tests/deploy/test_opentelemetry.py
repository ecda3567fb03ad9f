"""The collector's config. The collector itself is in no package that can be had here (the one on
PyPI lacks the prometheus receiver), so its part is played by `ottl`, on what a real server answers.
The scrape is checked by Prometheus's own promtool, and what comes out by the semantic conventions'
own package, which `make test-deploy` installs.
"""

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gunicorn_raindrops.exporters.families import BOUNDS

from ..integration.servers import Background, Server
from . import ottl
from .environment import tool

pytestmark = pytest.mark.once

FILE = Path(__file__).parent.parent.parent / "examples/deploy/opentelemetry/collector.yaml"
ACTIVE, DURATION = "http.server.active_requests", "http.server.request.duration"
ADVISED = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The bounds that the conventions advise for the duration."""


@pytest.fixture(scope="module")
def config():
    """The shipped file."""
    return yaml.safe_load(FILE.read_text())


def statements(config):
    """Return the statements of the transform processor."""
    processor = config["processors"]["transform/semconv"]
    assert set(processor) == {"metric_statements"}
    (group,) = processor["metric_statements"]
    assert set(group) == {"context", "statements"}
    assert group["context"] == "metric"
    return group["statements"]


@pytest.fixture(scope="module")
def metrics(config, tmp_path_factory):
    """What leaves the collector: after three requests, with one in flight."""
    background = Background()
    with Server(tmp_path_factory.mktemp("server"), "--threads", "2") as server:
        for _ in range(3):
            assert server.get("/")[0] == 200
        with socket.create_server(("127.0.0.1", 0)) as held:
            background.add(server.get, f"/hold?port={held.getsockname()[1]}")
            line, _ = held.accept()
            assert line.recv(20)
            accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
            _, body, headers = server.ask("/metrics", headers=accept)
            line.close()
        background.join()
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    families = text_string_to_metric_families(body.decode())
    return ottl.apply(statements(config), ottl.received(families))


def test_active_requests(metrics):
    """A sum that may fall: an UpDownCounter."""
    found = metrics[ACTIVE]
    assert (found.kind, found.temporality, found.monotonic) == ("Sum", "cumulative", False)
    assert [(sample.value, sample.labels) for sample in found.samples] == [(1, {})]


def test_duration(metrics):
    """A histogram, with the advised bounds among its own."""
    found = metrics[DURATION]
    assert found.kind == "Histogram"
    values = {sample.name.rpartition("_")[2]: sample.value for sample in found.samples}
    assert values["count"] == 3
    assert set(ADVISED) <= set(BOUNDS)
    bounds = {sample.labels["le"] for sample in found.samples if "le" in sample.labels}
    assert bounds == {str(bound) for bound in BOUNDS} | {"+Inf"}


CONVENTIONS = """
import json
from opentelemetry.semconv._incubating.metrics import http_metrics

class Meter:
    def __getattr__(self, kind):
        return lambda **said: (kind, said)

made = [http_metrics.create_http_server_active_requests(Meter()),
        http_metrics.create_http_server_request_duration(Meter())]
print(json.dumps({said.pop("name"): [kind, said] for kind, said in made}))
"""
INSTRUMENTS = {"Sum": "create_up_down_counter", "Histogram": "create_histogram"}


def test_the_conventions_have_them_so(metrics):
    """Names, instruments, units and descriptions."""
    python = tool("python")
    done = subprocess.run([python, "-c", CONVENTIONS], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        pytest.skip("no opentelemetry.semconv: `make test-deploy` installs it")
    assert json.loads(done.stdout) == {
        name: [INSTRUMENTS[one.kind], {"unit": one.unit, "description": one.description}]
        for name, one in ((name, metrics[name]) for name in (ACTIVE, DURATION))
    }


def others(metrics):
    """Return the rest."""
    return {name: metric for name, metric in metrics.items() if name not in (ACTIVE, DURATION)}


def test_others_keep_their_names(metrics):
    """And none is lost."""
    assert all(name.startswith("gunicorn_") for name in others(metrics))
    assert {"gunicorn_requests_total", "gunicorn_listener_queued"} <= set(others(metrics))
    assert "gunicorn_requests_in_flight" not in metrics


KNOWN = {"receivers": "prometheus", "processors": "transform batch", "exporters": "otlphttp"}
"""The components that the config may use, of the contrib distribution."""


def test_components(config):
    """Each is known, declared, and used by the one pipeline."""
    assert set(config) == {*KNOWN, "service"}
    assert set(config["service"]) == {"pipelines"}
    assert set(config["service"]["pipelines"]) == {"metrics"}
    pipeline = config["service"]["pipelines"]["metrics"]
    assert set(pipeline) == set(KNOWN)
    for part, kinds in KNOWN.items():
        assert set(pipeline[part]) == set(config[part])
        assert {name.partition("/")[0] for name in config[part]} <= set(kinds.split())
    assert pipeline["processors"][-1] == "batch"


def test_scrape_config(config, tmp_path):
    """What the receiver passes to Prometheus's own code is valid there."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: apt-get install prometheus")
    assert set(config["receivers"]["prometheus"]) == {"config"}
    (tmp_path / "prometheus.yml").write_text(
        yaml.safe_dump(config["receivers"]["prometheus"]["config"])
    )
    command = ["promtool", "check", "config", tmp_path / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_unknown_statement_is_an_error():
    """The stand-in for the collector passes over nothing."""
    for wrong in ('set(names, "x") where name == "y"', "set(name)", 'drop() where name == "y"'):
        metric = ottl.Metric("y", "Gauge", "", "", [])
        with pytest.raises((KeyError, ValueError)):
            ottl.apply([wrong], {"y": metric})
