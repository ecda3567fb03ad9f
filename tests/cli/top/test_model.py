"""Documents and keys in, rows out."""

import pytest

from gunicorn_raindrops.cli.top.model import ORDERS, Model

from .documents import request, status, worker

pytestmark = pytest.mark.once


def fed(*documents):
    model = Model()
    for document in documents:
        model.feed(document)
    return model


def press(model, *keys):
    for key in keys:
        model.press(key)


def slots(model, height=100):
    return [one.slot for one in model.rows(height)]


def test_rates():
    """They are the differences of two samples, of workers that were there before."""
    before = status(worker(0), worker(1, requests=50, cpu_seconds=9.0), time=10.0)
    after = status(
        worker(0, requests=30, cpu_seconds=1.5),
        worker(1, pid=999, requests=60, cpu_seconds=9.5),  # another one in its place
        time=12.0,
        requests=90,
    )
    model = fed(before, after)
    assert [(one.rate, one.load) for one in model.rows(9)] == [(15.0, 0.75), (None, None)]
    assert model.shown.figures["requests/s"] == 20.0
    assert list(model.history["requests/s"]) == [None, 20.0]


def test_no_rate():
    """Of the first sample, of one that was kept by a cache, of a server that began again."""
    model = fed(status(worker(requests=5), time=10.0))
    assert model.shown.figures["requests/s"] is None
    model.feed(status(worker(requests=5), time=10.0))
    assert len(model.history["calling"]) == 1
    model.feed(status(worker(requests=1), time=11.0))
    assert model.shown.figures["requests/s"] is None
    assert model.rows(1)[0].rate is None


WORKERS = (
    worker(0, state="idle", rss_bytes=3),
    worker(1, state="calling", current=request(seconds=1.0), rss_bytes=2, requests=9),
    worker(2, state="writing", current=request(seconds=5.0), rss_bytes=None, cpu_seconds=1.0),
    worker(3, state="starting", pid=99, rss_bytes=4),
)


def test_orders():
    """A key goes from one to the next, and another back; what is not known comes last."""
    before = status(*(one | {"requests": 0, "cpu_seconds": 0.0} for one in WORKERS), time=1.0)
    model = fed(before, status(*WORKERS, time=2.0))
    found = {}
    for _ in ORDERS:
        found[model.order] = slots(model)
        press(model, "s")
    assert found == {
        "age of request": [2, 1, 3, 0],
        "state": [1, 2, 3, 0],
        "requests/s": [1, 0, 2, 3],
        "CPU": [2, 0, 1, 3],
        "memory": [3, 0, 1, 2],
        "slot": [0, 1, 2, 3],
    }
    press(model, "S")
    assert model.order == "slot"


def test_pause():
    """The screen stands still; what comes meanwhile is shown at the end, with nothing left out."""
    model = fed(status(worker(), time=1.0))
    press(model, "p")
    model.feed(status(worker(state="calling"), time=2.0))
    model.feed(status(worker(state="calling", requests=4), time=3.0))
    assert model.shown.time == 1.0
    press(model, " ")
    assert (model.shown.time, model.shown.figures["requests/s"]) == (3.0, 4.0)
    assert list(model.history["calling"]) == [0, 1, 1]


def test_filter():
    """It is looked for in all that a row has, and typed keys are letters."""
    current = request("/Report", where="app/views.py:9 in slow")
    model = fed(status(worker(0), worker(1, state="calling", current=current), worker(2)))
    for text, found in {
        "report": [1],
        "GET /": [1],
        "views.py:9": [1],
        "idle": [0, 2],
        "q": [],
        "102": [2],
    }.items():
        press(model, "/", "clear", *text, "enter")
        assert (slots(model), model.is_over) == (found, False)
    press(model, "f", "backspace", "backspace")
    assert (model.filter, slots(model), model.is_typing) == ("1", [1, 0, 2], True)
    press(model, "escape")
    assert (model.filter, len(slots(model))) == ("", 3)
    press(model, "/", *"x" * 8192)
    assert len(model.filter) == 60


def test_scrolling():
    """There is no way past the ends, also when there are fewer workers afterwards."""
    model = fed(status(*map(worker, range(10)), time=1.0))
    assert slots(model, 4) == [0, 1, 2, 3]
    for key, first in [("down", 1), ("page down", 5), ("end", 6), ("up", 5), ("home", 0), ("k", 0)]:
        press(model, key)
        assert slots(model, 4)[0] == first
    press(model, "end")
    model.feed(status(*map(worker, range(5)), time=2.0))
    assert slots(model, 4) == [1, 2, 3, 4]
    assert slots(model, 0) == []


def test_a_server_that_does_not_answer():
    """The last figures stay, with since when and why; history has a gap."""
    model = fed(status(worker(), time=1.0))
    model.fail("refused", 0.0 + 1e9)
    model.fail("refused", 5.0 + 1e9)
    since = model.problem
    assert "refused" in since and "waiting" in since and ":40" in since
    assert model.shown.time == 1.0
    model.feed(status(worker(), time=9.0))
    assert model.problem is None
    assert list(model.history["calling"]) == [0, None, None, 0]
    model.fail("arbiter 1 has ended", 1e9, is_final=True)
    assert "has ended" in model.problem and "last figures" in model.problem


def test_keys():
    """Help is over at any key; others do nothing; q ends it."""
    model = fed(status(worker()))
    press(model, "h", "x")
    assert not model.is_help
    press(model, "x", "left", "?", "q")
    assert not (model.is_help or model.is_over)
    press(model, "q")
    assert model.is_over
