"""A status as people read it."""

import copy

import pytest

from gunicorn_raindrops.cli import report
from gunicorn_raindrops.cli.terminal import Failed

LISTENER = {"address": "127.0.0.1:80", "active": 3, "queued": 0}
IDLE = {
    "slot": 0, "pid": 4711, "age": 1, "state": "idle", "requests": 12, "cpu_seconds": 0.25,
    "rss_bytes": 34 << 20, "lag_seconds": 0.002, "current": None,
}  # fmt: skip
CALLING = IDLE | {
    "slot": 11, "pid": 99, "state": "calling", "requests": 100000, "cpu_seconds": 4000.0,
    "lag_seconds": None, "current": {"method": "GET", "path": "/slow", "seconds": 12.34},
}  # fmt: skip
STATUS = {
    "calling": 1, "writing": 0, "waiting": 2, "listeners": [LISTENER],
    "counters": {"jobs": 7}, "workers": [IDLE, CALLING],
}  # fmt: skip
HOSTILE = "\x1b[2J\n\x07\u202e'\"" + "x" * 8192


def test_lines():
    """What the text URL says, then a table."""
    assert report.lines(STATUS) == [
        "calling: 1",
        "writing: 0",
        "127.0.0.1:80 active: 3",
        "127.0.0.1:80 queued: 0",
        "waiting: 2",
        "counters.jobs: 7",
        "",
        "slot  pid age state   since requests   cpu   rss lag request",
        "   0 4711   1 idle        -       12 250ms 34.0M 2ms",
        "  11   99   1 calling 12.3s   100000   67m 34.0M   - GET /slow",
    ]


def test_where():
    """The line that a request stands at follows it, if it is known."""
    current = CALLING["current"] | {"where": "app.py:12 in view"}
    (*_, line) = report.lines(STATUS | {"workers": [CALLING | {"current": current}]})
    assert line.endswith("GET /slow  app.py:12 in view")
    (*_, line) = report.lines(
        STATUS | {"workers": [CALLING | {"current": current | {"where": None}}]}
    )
    assert line.endswith("GET /slow")


def test_figures_that_are_not_known():
    """They have no line, or a dash; without a scoreboard there is no table."""
    unknown = LISTENER | {"active": None, "queued": None}
    status = STATUS | {"listeners": [unknown], "waiting": None, "counters": None, "workers": None}
    assert report.lines(status) == ["calling: 1", "writing: 0"]
    starting = IDLE | {"age": None, "cpu_seconds": None, "rss_bytes": None, "state": "starting"}
    (*_, line) = report.lines(STATUS | {"workers": [starting]})
    assert line.split() == ["0", "4711", "-", "starting", "-", "12", "-", "-", "2ms"]


def test_hostile_texts():
    """Whatever a client, or another program, has chosen cannot break a line."""
    current = {"method": HOSTILE, "path": HOSTILE, "seconds": 1e300, "where": HOSTILE}
    worker = CALLING | {"current": current, "state": HOSTILE, "slot": HOSTILE}
    status = STATUS | {
        "listeners": [LISTENER | {"address": HOSTILE}],
        "counters": {HOSTILE: 1},
        "workers": [worker],
    }
    lines = report.lines(status)
    assert len(lines) == 9
    assert all(line.isprintable() for line in lines)


def test_what_is_no_status():
    """Anything may come from a URL: each part of it missing, or something else."""
    values = [None, 5, "text", [], {}, [None], float("inf"), 10**5000]
    for changed in (*STATUS, *IDLE, *LISTENER, *CALLING["current"]):
        for value in values:
            status = copy.deepcopy(STATUS)
            for part in (status, *status["workers"], status["listeners"][0]):
                if changed in part:
                    part[changed] = value
            if changed in CALLING["current"]:
                status["workers"][1]["current"][changed] = value
            try:
                assert all(map(str, report.lines(status)[:2]))
            except Failed as error:
                assert "no status" in str(error)
    with pytest.raises(Failed):
        report.lines({})
