"""Each format of one snapshot, byte for byte as in golden/: what readers parse does not change
by accident. To change it on purpose: `python -m tests.exporters.test_golden`."""

import dataclasses
from pathlib import Path

import pytest

from gunicorn_raindrops.exporters import json as render
from gunicorn_raindrops.exporters import prometheus, text
from gunicorn_raindrops.exporters.families import FAMILIES
from gunicorn_raindrops.exporters.statsd import Pusher
from gunicorn_raindrops.scoreboard.app_counters import UserCounter

from .test_json import SNAPSHOT, TIMED, UNIX

GOLDEN = Path(__file__).parent / "golden"
OPEN = "application/openmetrics-text; version=1.0.0"
COUNTERS = (UserCounter("jobs.done", False, 4), UserCounter("depth", True, 2))
WHOLE = dataclasses.replace(TIMED, counters=COUNTERS)
LITTLE = dataclasses.replace(SNAPSHOT, saturation=0.5, listeners=(UNIX,))


def statsd(snapshot, tags=""):
    """Return the datagrams, one a line."""
    lines = Pusher("/nowhere", "web", tags, pytest.fail).lines(snapshot)
    return "".join(f"{line}\n" for line in lines).encode()


def series():
    """Return all that Prometheus may be told, a line for each family: name, labels, type, unit and
    help. What a dashboard relies on is changed here, in sight of who reviews it."""
    lines = (
        f"{one.series}{{{','.join(one.labels)}}} {one.kind} {one.unit or '-'} {one.help}\n"
        for one in FAMILIES
    )
    return "".join(sorted(lines)).encode()


def rendered():
    """Return the bytes of every format, by the name of its file."""
    return {
        "series.txt": series(),
        "whole.json": render.encode(WHOLE),
        "whole.txt": text.encode(WHOLE),
        "whole.prom": prometheus.encode(WHOLE, None)[0],
        "whole.openmetrics": prometheus.encode(WHOLE, OPEN)[0],
        "whole.statsd": statsd(WHOLE),
        "whole.dogstatsd": statsd(WHOLE, "env:test"),
        "little.json": render.encode(LITTLE),
        "little.prom": prometheus.encode(LITTLE, "")[0],
    }


@pytest.mark.parametrize("name", list(rendered()))
def test_golden(name):
    """The bytes are those of the file."""
    assert rendered()[name] == (GOLDEN / name).read_bytes()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, body in rendered().items():
        (GOLDEN / name).write_bytes(body)
