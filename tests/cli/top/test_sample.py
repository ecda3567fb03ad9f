"""What is taken from a status that anybody may have written."""

import math

import pytest

from gunicorn_raindrops.cli.terminal import Failed
from gunicorn_raindrops.cli.top.sample import parse

from .documents import listener, request, status, worker

pytestmark = pytest.mark.once


def test_a_status():
    """Everything that is shown is in it."""
    document = status(
        worker(state="calling", current=request("/slow", 2.5, "views.py:3 in slow")),
        listeners=[listener(queued=3), listener("unknown", queued=None)],
        exits={"killed": 2},
        killed=[{"time": 5.0, "pid": 7, "cause": "killed", "current": request(), "where": "x:1"}],
    )
    sample = parse(document)
    assert sample.server == "gunicorn 27.0.1 sync"
    assert (sample.figures["calling"], sample.figures["queued"]) == (1, 3)
    assert sample.workers[0].current == ("GET", "/slow", 2.5, "views.py:3 in slow")
    assert sample.listeners[1].queued is None
    assert (sample.killed[0].current.where, sample.exits) == ("x:1", {"killed": 2})


def test_what_is_not_known():
    """A server that has no worker class, no `where`, and no listener that can be read."""
    current = request()
    del current["where"]
    document = status(worker(current=current), listeners=[listener(queued=None)], saturation=None)
    document["arbiter"] |= {"gunicorn": None, "worker_class": None, "workers_wanted": None}
    sample = parse(document)
    assert (sample.server, sample.wanted) == ("", None)
    assert (sample.figures["queued"], sample.figures["saturation"]) == (None, None)
    assert sample.workers[0].current.where == ""


@pytest.mark.parametrize("figure", [math.inf, math.nan, 10**400, True, "1", [], None])
def test_figures_that_are_none(figure):
    """They are not known."""
    sample = parse(status(worker(requests=0, rss_bytes=figure), reading=figure))
    assert (sample.workers[0].rss_bytes, sample.figures["reading"]) == (None, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"time": math.nan},
        {"workers": 3},
        {"workers": [None]},
        {"arbiter": []},
        {"listeners": None},
        {"exits": ["killed"]},
        {"killed": [{}]},
    ],
)
def test_what_is_no_status(changed):
    """It is refused in one way, whatever is wrong."""
    with pytest.raises(Failed, match="no status"):
        parse(status(worker()) | changed)


def test_long_texts():
    """They are cut before anything is done with them."""
    sample = parse(status(worker(current=request("/" + "x" * 8192))))
    assert len(sample.workers[0].current.path) == 1024
