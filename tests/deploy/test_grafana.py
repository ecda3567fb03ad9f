"""The shipped dashboard: valid by Grafana's own types, and every query of it has an answer.

No Grafana is here. Its types of a dashboard and of its panels are those of its package
@grafana/schema, which `make test-deploy` installs. They leave a panel's queries open: what these
may have is checked here. A real Prometheus answers the queries, while it watches the demo's load.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from gunicorn_raindrops.exporters.families import FAMILIES

from ..bounds import WAIT
from ..integration.servers import ROOT, eventually
from ..integration.test_demo import end_at_once
from ..ports import free_address
from ..prometheus import Prometheus, scraping
from .dashboards import DASHBOARD, label_queries, panels, queries, variables
from .environment import NODE

pytestmark = pytest.mark.once

KINDS = {"timeseries": "TimeSeries", "stat": "Stat", "heatmap": "Heatmap", "table": "Table"}
WITHOUT_FIELDS = {"stat"}
"""Kinds of panels that have no field options of their own."""
TARGET = {"refId", "datasource", "expr", "legendFormat", "range", "instant", "format"}
"""What a Prometheus query may have here."""

HEAD = """import type { Dashboard } from "@grafana/schema";
type Plain<T> =
  T extends string ? `${T}` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""
"""TypeScript takes no string for an enum's member; `Plain` has the enum's strings in its place."""


def typed(dashboard):
    """Return a program that is right if the dashboard, and the options of each panel, are."""
    lines = [HEAD]
    for kind, name in KINDS.items():
        path = f"@grafana/schema/dist/esm/raw/composable/{kind}/panelcfg/x/{name}PanelCfg_types.gen"
        lines.append(f'import type * as {kind} from "{path}";')
    lines.append(f"export const it: Plain<Dashboard> = {json.dumps(dashboard)};")
    for panel in dashboard["panels"]:
        kind, number = panel["type"], panel["id"]
        if kind == "row":
            continue
        options = json.dumps(panel["options"])
        lines.append(f"export const options{number}: Plain<{kind}.Options> = {options};")
        if kind not in WITHOUT_FIELDS:
            custom = json.dumps(panel["fieldConfig"]["defaults"]["custom"])
            of = f"Plain<Partial<{kind}.FieldConfig>>"
            lines.append(f"export const custom{number}: {of} = {custom};")
    return "\n".join(lines)


def type_check(tmp_path, dashboard):
    """Return what TypeScript says of it."""
    if not (NODE / "@grafana/schema").exists() or shutil.which("node") is None:
        pytest.skip("no types of Grafana's: `make test-deploy` installs them, by npm")
    (tmp_path / "node_modules").symlink_to(NODE)
    (tmp_path / "it.ts").write_text(typed(dashboard))
    options = ["--strict", "--noEmit", "--skipLibCheck", "--module", "nodenext"]
    command = ["node", NODE / "typescript/bin/tsc", *options, "it.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    return done.stdout


def test_grafanas_types(tmp_path):
    """Each key is one that Grafana knows, and of its type."""
    assert type_check(tmp_path, DASHBOARD) == ""


BROKEN = {
    "schemaVersions": lambda it: it.update(schemaVersions=42),
    "stretched": lambda it: it["panels"][1]["options"].update(graphMode="stretched"),
    "lineWeight": lambda it: it["panels"][8]["fieldConfig"]["defaults"]["custom"].update(
        lineWeight=1
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_grafanas_types_are_strict(tmp_path, name):
    """What is misspelt is found, in the dashboard and in the options of a panel."""
    broken = json.loads(json.dumps(DASHBOARD))
    BROKEN[name](broken)
    assert name in type_check(tmp_path, broken)


def test_panels_are_laid_out():
    """No panel covers another, none leaves the 24 columns, and no id is there twice."""
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_are_explained_and_ask_the_chosen_prometheus():
    """No data source of somebody's own is in the file."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert variables()["datasource"]["type"] == "datasource"
    assert variables()["datasource"]["query"] == "prometheus"
    for panel in panels():
        assert len(panel["description"]) > 10, panel["title"]
        assert panel["datasource"] == chosen
        for target in panel["targets"]:
            assert target["datasource"] == chosen
            assert set(target) <= TARGET


def test_queries_ask_for_what_there_is():
    """For series of ours only, and for each family of them in some panel."""
    known = {family.series for family in FAMILIES}
    asked = set()
    for query in queries():
        found = set(re.findall(r"gunicorn_[a-z_]+", query.expression.replace('"gunicorn"', "")))
        asked |= {re.sub("_(bucket|sum|count)$", "", name) for name in found}
    assert asked - known == set()
    left = {"gunicorn_requests_in_flight"} | asked
    assert known - left == {
        "gunicorn_request_queue_ignored_total",
        "gunicorn_workers_limit",
        "gunicorn_workers_untracked",
    }


@pytest.fixture
def demo():
    """What `make demo` runs; the address of its status."""
    status = free_address()
    env = os.environ | {"DEMO_BIND": free_address(), "RAINDROPS_BIND": status}
    process = subprocess.Popen(
        [sys.executable, ROOT / "examples/demo.py"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield status
    finally:
        process.terminate()
        try:
            process.wait(2 * WAIT)
        finally:
            end_at_once(process)


def is_answered(prometheus, query):
    """Tell whether there is a number: as a graph would ask, or a table."""
    if query.instant:
        return bool(prometheus.query(query.expression))
    now = time.time()
    asked = {"query": query.expression, "start": now - 10, "end": now, "step": "1s"}
    found = prometheus.ask("query_range", **asked)["result"]
    return any(not math.isnan(float(value)) for one in found for _, value in one["values"])


def test_every_query_has_an_answer(demo, tmp_path):
    """Of each panel and of each variable, under the load of `make demo`; none is left out."""
    assert len(queries()) > 40
    with Prometheus(tmp_path, scraping(0.5, demo)) as prometheus:

        def unanswered():
            return [query for query in queries() if not is_answered(prometheus, query)]

        eventually(lambda: not unanswered(), unanswered, 3 * WAIT)
        for name, series, label in label_queries():
            values = prometheus.ask(f"label/{label}/values", **{"match[]": series})
            assert values == {"job": ["gunicorn"], "instance": [demo]}[name]
