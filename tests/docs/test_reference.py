"""The reference pages name all that there is."""

import json
import re

import pytest

import gunicorn_raindrops
from gunicorn_raindrops import settings
from gunicorn_raindrops.exporters import families

from .blocks import ROOT

pytestmark = pytest.mark.once

SCHEMA = json.loads((ROOT / "gunicorn_raindrops/exporters/schema.json").read_text())
PUBLIC = [name for name in gunicorn_raindrops.__all__ if name not in ("__version__", "hooks")]
TOLD_ELSEWHERE = {"version", "time", "uptime", "history"}
"""Keys of the document itself, which docs/status-url.md tells."""


def page(name):
    """Return the text of a page."""
    return (ROOT / "docs" / name).read_text()


def words(text):
    """Return what stands in backquotes."""
    return set(re.findall(r"`([^`\n]+)`", text))


@pytest.mark.parametrize("name", settings.Settings.__dataclass_fields__)
def test_every_setting(name):
    row = re.search(rf"^\| `{name}` \|.*$", page("settings.md"), re.M)
    assert row
    assert f"`RAINDROPS_{name.upper()}`" in row[0]


@pytest.mark.parametrize("key", SCHEMA["properties"])
def test_every_figure(key):
    where = "status-url.md" if key in TOLD_ELSEWHERE else "figures.md"
    assert re.search(rf"\b{key}\b", page(where))


def test_every_series():
    """A name that begins with an underscore stands for the one before it with another end."""
    told = words(re.sub(r"\{[^}]*\}", "", page("prometheus.md")))
    for family in families.FAMILIES:
        last = family.series.split("_")
        assert told & {family.series, f"_{last[-1]}", f"_{'_'.join(last[-2:])}"}, family.series


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name(name):
    assert re.search(rf"^::: gunicorn_raindrops\.\S*\b{name}$", page("api.md"), re.M)
