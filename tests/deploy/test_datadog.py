"""The Datadog check's config: Datadog's own library runs it against a real gunicorn, and its own
specification has each of its options. The Agent itself is not here; the library's stub takes what
would be sent to it. `make test-deploy` installs both (datadog-checks-base, datadog-checks-dev).
"""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from gunicorn_raindrops.exporters.families import COUNTER, FAMILIES

from ..integration.servers import Server, eventually
from .environment import HOME, tool

pytestmark = pytest.mark.once

FILE = Path(__file__).parent.parent.parent / "examples/deploy/datadog/conf.yaml"
HELPER = Path(__file__).parent / "datadog_check.py"
PREFIX = "    # "


def with_the_token(text):
    """Return the file with its last comment, the token's lines, taken in."""
    head, mark, tail = text.partition(f"{PREFIX}auth_token:\n")
    lines = (mark + tail).splitlines()
    return head + "\n".join(line.replace(PREFIX, "    ", 1) for line in lines)


def instance(text=None):
    """Return the file's one instance."""
    (found,) = yaml.safe_load(text or FILE.read_text())["instances"]
    return found


def names(found):
    """Return an instance's metrics: the name that we have, and the one that is sent."""
    return {key: value for entry in found["metrics"] for key, value in entry.items()}


def checked(found):
    """Run the check; returns its errors and what it sends, but for how long it took."""
    python = tool("python")
    code = "import datadog_checks.base"
    if subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no datadog_checks.base: `make test-deploy` installs it")
    done = subprocess.run(
        [python, HELPER, json.dumps(found)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    return result["errors"], result["sent"]


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A server with a token, after twenty requests."""
    folder = tmp_path_factory.mktemp("server")
    token = folder / "token"
    token.write_text("secret\n")
    env = {"RAINDROPS_TOKEN_FILE": str(token)}
    with Server(folder, "--threads", "2", "--workers", "2", env=env) as server:
        for _ in range(20):
            assert server.get("/")[0] == 200
        ask = {"headers": {"Authorization": "Bearer secret"}}
        eventually(
            lambda: b"gunicorn_requests_total 20.0" in server.ask("/metrics", **ask)[1], "20"
        )
        yield server, token


def asking(server, text, token=None):
    """Return the instance as it asks that server."""
    found = instance(text)
    host, port = server.status_address
    found["openmetrics_endpoint"] = f"http://{host}:{port}/metrics"
    if token:
        found["auth_token"]["reader"]["path"] = str(token)
    return found


@pytest.mark.slow
def test_the_check_sends_each_figure(busy):
    """Under its name, and as what it is: counters count, durations are distributions."""
    server, token = busy
    found = asking(server, with_the_token(FILE.read_text()), token)
    errors, sent = checked(found)
    assert errors == []
    kinds = {(name, kind) for name, kind, _, _ in sent if "telemetry" not in name}
    assert {name.partition(".")[0] for name, _ in kinds} == {"raindrops"}
    expected = set()
    for family, name in names(found).items():
        kind = next(one.kind for one in FAMILIES if one.name == family)
        expected |= {(f"raindrops.{name}{suffix}", type_) for suffix, type_ in SENT[kind]}
    assert {kind for kind in kinds if kind[0] != "raindrops.openmetrics.health"} == expected


SENT = {
    "gauge": {("", "gauge")},
    "counter": {(".count", "monotonic_count")},
    "histogram": {
        ("", "distribution"),
        (".count", "monotonic_count"),
        (".sum", "monotonic_count"),
    },
}
"""How each kind of family is sent: what is added to its name, and as which type."""


@pytest.mark.slow
def test_values(busy):
    """Those that the server has."""
    server, token = busy
    _, sent = checked(asking(server, with_the_token(FILE.read_text()), token))
    last = {name: value for name, _, value, _ in sent}
    assert last["raindrops.requests.count"] == 20
    assert last["raindrops.requests.capacity"] == 4
    slots = [tag for name, _, _, tags in sent if name == "raindrops.workers" for tag in tags]
    assert "state:idle" in slots


@pytest.mark.slow
def test_without_the_token_it_is_an_error(busy):
    """The shipped lines, as they are, are for a server without one."""
    server, _ = busy
    errors, sent = checked(asking(server, FILE.read_text()))
    assert len(errors) == 2
    assert "401" in errors[0]
    assert sent == []


def test_names_are_ours():
    """Families that Prometheus is told; those of counters without `_total`."""
    known = {family.name for family in FAMILIES}
    assert set(names(instance())) <= known
    assert {"gunicorn_requests", "gunicorn_worker_exits"} <= {
        family.name for family in FAMILIES if family.kind == COUNTER
    }
    sent = list(names(instance()).values())
    assert len(set(sent)) == len(sent)


def options():
    """Return the options that Datadog specifies for such an instance."""
    folders = [*HOME.glob("lib/python3*/site-packages/datadog_checks/dev/tooling/templates")]
    if not folders:
        pytest.skip("no datadog_checks.dev: `make test-deploy` installs it")
    found = {}
    for name in ("openmetrics", "http", "default"):
        text = (folders[0] / f"configuration/instances/{name}.yaml").read_text()
        found |= {one["name"]: one for one in yaml.safe_load(text) if "name" in one}
    return found


KINDS = {"string": str, "boolean": bool, "array": list, "object": dict, "number": (int, float)}


@pytest.mark.parametrize("text", [FILE.read_text(), with_the_token(FILE.read_text())])
def test_options_are_datadogs(text):
    """Each is specified, and its value is of the type that it takes."""
    known = options()
    for name, value in instance(text).items():
        assert name in known, name
        assert isinstance(value, KINDS[known[name]["value"]["type"]]), name
