"""The Kubernetes manifests: valid by the schemas of Kubernetes, KEDA and the Prometheus operator,
queries that a real Prometheus evaluates, and what has to hold between their figures.

No cluster is here. The schemas come from packages that `make test-deploy` installs: Kubernetes'
own, strict, from kubernetes-validate, and for the other two TypeScript's types made of their Go
types. The adapter's config has no schema: its keys are compared with those that its documentation
has (docs/config.md of kubernetes-sigs/prometheus-adapter).
"""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from gunicorn_raindrops import settings
from gunicorn_raindrops.exporters.families import FAMILIES

from . import manifests
from .environment import NODE, tool

pytestmark = pytest.mark.once

CORE = ("app.yaml", "hpa.yaml")
FIGURES = ("gunicorn_requests_in_flight", "gunicorn_requests_waiting", "gunicorn_listener_queued")


def validate(path):
    """Return what kubernetes-validate makes of a file: its exit status and its lines."""
    command = [tool("kubernetes-validate"), "--strict", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", CORE)
def test_kubernetes_schemas(name):
    """Each object of the file is valid, with no field that Kubernetes does not know."""
    code, lines = validate(manifests.FOLDER / name)
    assert code == 0, lines
    assert lines.count("passed") == len(manifests.documents(name))


def test_kubernetes_schemas_are_strict(tmp_path):
    """A misspelt field is found."""
    text = (manifests.FOLDER / "app.yaml").read_text()
    (tmp_path / "app.yaml").write_text(text.replace("failureThreshold", "failuresThreshold", 1))
    code, lines = validate(tmp_path / "app.yaml")
    assert code != 0
    assert "failuresThreshold" in lines


TYPES = {
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
    "PodMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor",
}


def type_check(tmp_path, manifests_by_kind):
    """Return what TypeScript says of objects of those kinds."""
    if not (NODE / "typescript").exists() or shutil.which("node") is None:
        pytest.skip("no types of KEDA and the operator: `make test-deploy` installs them, by npm")
    (tmp_path / "node_modules").symlink_to(NODE)
    source = "".join(
        f'import {{ I{kind} }} from "{TYPES[kind]}";\n'
        f"export const its{kind}: I{kind} = {json.dumps(manifest, indent=1)};\n"
        for kind, manifest in manifests_by_kind.items()
    )
    (tmp_path / "it.ts").write_text(source)
    options = ["--strict", "--noEmit", "--skipLibCheck", "--module", "nodenext"]
    command = ["node", NODE / "typescript/bin/tsc", *options, "it.ts"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout


@pytest.mark.slow
def test_custom_types(tmp_path):
    """Each field is one that the operator knows, and of its type."""
    assert type_check(tmp_path, {kind: manifests.find(kind) for kind in TYPES}) == ""


@pytest.mark.slow
def test_custom_types_are_strict(tmp_path):
    """A wrong value is found, and a misspelt field."""
    scaled, monitor = (manifests.find(kind) for kind in TYPES)
    scaled["spec"]["fallback"]["behavior"] = "currentReplicasIfHigh"
    monitor["spec"]["podMetricsEndpoints"][0]["scrapeTimeouts"] = "5s"
    said = type_check(tmp_path, {"ScaledObject": scaled, "PodMonitor": monitor})
    assert "currentReplicasIfHigh" in said
    assert "scrapeTimeouts" in said


ADAPTER = {"seriesQuery", "seriesFilters", "resources", "name", "metricsQuery"}


def adapter_rule():
    """Return the rule of the adapter's config."""
    (config,) = manifests.documents("prometheus-adapter.yaml")
    assert set(config) == {"rules"}
    (rule,) = config["rules"]
    return rule


def test_adapter():
    """The rule has the documented keys, and gives the autoscaler's figure, by pod."""
    rule = adapter_rule()
    assert set(rule) <= ADAPTER
    assert set(rule["resources"]) == {"overrides"}
    assert rule["resources"]["overrides"] == {
        "namespace": {"resource": "namespace"},
        "pod": {"resource": "pod"},
    }
    (metric,) = manifests.find("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert set(rule["name"]) == {"matches", "as"}
    assert re.fullmatch(rule["name"]["matches"], FIGURES[0])
    assert rule["name"]["as"] == metric["pods"]["metric"]["name"]


def keda_query():
    """Return the ScaledObject's query."""
    (trigger,) = manifests.find("ScaledObject")["spec"]["triggers"]
    return trigger["metadata"]["query"]


def adapter_query():
    """Return the adapter's query as it asks for the pods of one Deployment."""
    query = adapter_rule()["metricsQuery"].replace("<<.GroupBy>>", "pod")
    return query.replace("<<.LabelMatchers>>", 'namespace="default",pod=~"app-1|app-2|app-3"')


def test_queries_name_our_figures():
    """Those that Prometheus is told, and all of the three."""
    ours = {family.series for family in FAMILIES}
    for query in (keda_query(), adapter_query()):
        (names,) = re.findall(r'__name__=~"([^"]*)"', query)
        assert tuple(names.split("|")) == FIGURES
        assert set(FIGURES) <= ours


def series(name, pod, values):
    """Return an input series of promtool's."""
    listener = ',listener="0.0.0.0:8000"' if "listener" in name else ""
    labels = f'job="default/app",namespace="default",pod="{pod}"{listener}'
    return {"series": f"{name}{{{labels}}}", "values": values}


def rules_test(query, inputs, expected):
    """Return a unit test of promtool's: at an instant (seconds) so many samples."""
    tests = [
        {
            "expr": query,
            "eval_time": f"{at}s",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in samples],
        }
        for at, samples in expected.items()
    ]
    test = {"interval": "10s", "input_series": inputs, "promql_expr_test": tests}
    return yaml.safe_dump({"evaluation_interval": "10s", "tests": [test]})


def promtool(tmp_path, text):
    """Run a unit test with promtool."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: apt-get install prometheus")
    (tmp_path / "test.yml").write_text(text)
    command = ["promtool", "test", "rules", "test.yml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Ten seconds apart. The third pod is lost after the first scrape, all are after the sixth; and the
# third's kernel cannot say who waits inside.
INPUTS = [
    *(series(name, "app-1", "4x6 stale") for name in FIGURES),
    *(series(name, "app-2", "1x6 stale") for name in FIGURES),
    series(FIGURES[0], "app-3", "2 stale"),
    series(FIGURES[2], "app-3", "3 stale"),
]


def test_keda_query(tmp_path):
    """The sum over all pods; one that is lost counts for a minute; nothing is no 0."""
    expected = {0: [("{}", 20)], 50: [("{}", 20)], 70: [("{}", 15)], 130: []}
    promtool(tmp_path, rules_test(keda_query(), INPUTS, expected))


def test_adapter_query(tmp_path):
    """The sum of each pod; one that is lost has none."""
    one, two, three = (f'{{pod="app-{i}"}}' for i in (1, 2, 3))
    expected = {0: [(one, 12), (two, 3), (three, 5)], 50: [(one, 12), (two, 3)], 130: []}
    promtool(tmp_path, rules_test(adapter_query(), INPUTS, expected))


# What has to hold between the figures.


@pytest.fixture(scope="module")
def app():
    """The Deployment's pod."""
    return manifests.app()


def test_probes_ask_the_status_address(app):
    """At the port that RAINDROPS_BIND has, beyond loopback, at paths that are answered there."""
    host, _, port = app.env["RAINDROPS_BIND"].rpartition(":")
    assert host == "0.0.0.0"
    assert app.ports["status"] == int(port)
    probes = (app.startup, app.readiness, app.liveness)
    assert {probe.port for probe in probes} == {"status"}
    assert app.startup.path == app.readiness.path == app.env["RAINDROPS_READY"]
    assert app.liveness.path == "/_raindrops"
    assert "RAINDROPS_READY_ABOVE" not in app.env
    assert "RAINDROPS_TOKEN" not in app.env


def test_who_may_ask(app):
    """The application is for all, the status for one namespace, and no path is in it."""
    http, status = manifests.find("NetworkPolicy")["spec"]["ingress"]
    assert (http["ports"], status["ports"]) == ([{"port": "http"}], [{"port": "status"}])
    assert "from" not in http
    assert status["from"]
    assert app.env["RAINDROPS_CURRENT"] == "off"
    (port,) = manifests.find("Service")["spec"]["ports"]
    assert port["targetPort"] == "http"


def test_gunicorn_mends_first(app):
    """A worker that hangs is replaced by gunicorn's timeout before the pod is restarted."""
    assert app.liveness.failures * app.liveness.period > app.gunicorn.timeout + 5


def test_time_to_leave(app):
    """A pod has time for preStop and the graceful timeout before it is killed."""
    assert app.grace >= app.pre_stop + app.gunicorn.graceful_timeout + 5


def test_who_is_let_in_is_served_soon(app):
    """A full pod has ten times what it can run at most, and no idle connection takes the place of
    a request."""
    assert app.gunicorn.room <= 10 * app.gunicorn.capacity
    assert app.gunicorn.worker_connections > app.gunicorn.threads
    assert app.gunicorn.keep_alive == 0


def test_targets(app):
    """Both autoscalers say the same, and want less in a pod than it can run."""
    scaled = manifests.find("ScaledObject")["spec"]
    hpa = manifests.find("HorizontalPodAutoscaler")["spec"]
    (trigger,), (metric,) = scaled["triggers"], hpa["metrics"]
    target = float(trigger["metadata"]["threshold"])
    assert target == float(metric["pods"]["target"]["averageValue"]) < app.gunicorn.capacity
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (
        hpa["minReplicas"],
        hpa["maxReplicas"],
    )
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == hpa["behavior"]


def test_all_are_of_one_app():
    """Names, labels and the job that the query asks for."""
    deployment, monitor = manifests.find("Deployment"), manifests.find("PodMonitor")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert manifests.find("Service")["spec"]["selector"] == labels
    assert manifests.find("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert monitor["spec"]["selector"]["matchLabels"] == labels
    for kind in ("ScaledObject", "HorizontalPodAutoscaler"):
        target = manifests.find(kind)["spec"]["scaleTargetRef"]
        assert target["name"] == deployment["metadata"]["name"]
    assert f'job="default/{monitor["metadata"]["name"]}"' in keda_query()


def test_the_environment_is_ours():
    """What the Deployment sets are settings, with values that they take."""
    env = manifests.app().env
    assert list(settings.unknown(env)) == []
    known = settings.load({}, env)
    assert (known.ready, known.current) == ("/ready", False)
