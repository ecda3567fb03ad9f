"""The shipped config and rules of Prometheus: what promtool says of them.

That each alert fires on real servers is in test_alerts.py, and that sums are sums in test_fleet.py.
"""

import re
import shutil
import subprocess

import pytest
import yaml

from ..prometheus import needs_prometheus
from .rules import DOCS, FOLDER, RULES, TESTS, alerts

pytestmark = pytest.mark.once

PAGES = {
    "504-but-idle", "queue-grows", "worker-hangs", "memory-creeps", "restart-loop",
    "what-to-scale-on",
}  # fmt: skip
"""Of the docs, one for each symptom."""

NAMES = {
    "Saturated", "Waiting", "Dropping", "StuckRequest", "WorkerKilled", "CrashLoop",
    "WorkersMissing", "QueueTime", "NotAnswering",
}  # fmt: skip


def promtool(*args, folder=FOLDER):
    """Run it; returns the exit status and all that it wrote."""
    needs_prometheus()
    done = subprocess.run(
        ["promtool", *map(str, args)], cwd=folder, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "files"), [("prometheus", 2), ("federation", 1), ("remote-write", 0)]
)
def test_config_is_valid(name, files):
    """With all the files of rules that it names."""
    status, said = promtool("check", "config", f"{name}.yml")
    assert status == 0, said
    assert said.count("rules found") == files


def test_rules_do_as_their_tests_say():
    """Each alert fires in its own series and is silent in the others."""
    status, said = promtool("test", "rules", TESTS.name)
    assert status == 0, said


def test_no_alert_is_without_a_test(tmp_path):
    """The tests see each alert that never fires."""
    for path in (*RULES, TESTS):
        shutil.copy(path, tmp_path)
    rules = yaml.safe_load((tmp_path / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = "vector(1) < 0"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    status, said = promtool("test", "rules", TESTS.name, folder=tmp_path)
    assert status == 1
    assert {name for name in NAMES if name in said} == NAMES


def test_each_alert_says_what_and_where_to_read_on():
    """A summary that names the server, a description, a severity, and a page of the docs."""
    assert set(alerts()) == NAMES
    for rule in alerts().values():
        notes = rule["annotations"]
        assert "{{ $labels.instance }}" in notes["summary"]
        assert len(notes["description"]) > 40
        assert rule["labels"]["severity"] in ("page", "warn")
        assert re.search(r"symptoms/([a-z0-9-]+)", notes["runbook_url"])[1] in PAGES


def test_pages_are_there():
    """The pages that the alerts name."""
    if not (DOCS / "symptoms").exists():
        pytest.skip("no docs/symptoms yet")
    assert {path.stem for path in (DOCS / "symptoms").glob("*.md")} - {"index"} >= PAGES
