"""The last ten minutes, as readers get them."""

import json

import pytest

from gunicorn_raindrops.scoreboard import history as kept
from gunicorn_raindrops.scoreboard.records import InFlight, Moment
from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status import history
from gunicorn_raindrops.status.app import StatusApp
from gunicorn_raindrops.status.history import History, columns

from ..exporters.test_json import SNAPSHOT
from ..schema import parsed

NOW = 1_800_000_000


def test_columns():
    """A figure is a column; the saturation is worked out, where it can be."""
    moments = [
        Moment(NOW, 2, 1, None, None, 0, 4),
        Moment(NOW + 1, 2, 1, 1, 3, 7, 4),
        Moment(NOW + 3, 0, 0, 0, 0, None, 4),
        Moment(NOW + 4, 0, 0, 0, 0, 5, 0),
    ]
    assert columns(moments) == {
        "time": [NOW, NOW + 1, NOW + 3, NOW + 4],
        "calling": [2, 2, 0, 0],
        "writing": [1, 1, 0, 0],
        "reading": [None, 1, 0, 0],
        "waiting": [None, 3, 0, 0],
        "queued": [0, 7, None, 5],
        "saturation": [0.75, 3.5, None, None],
    }


def test_keep(monkeypatch):
    """What is kept is of now, and who waits is marked, too."""
    figures = {}
    monkeypatch.setattr(history, "mark", lambda sampler, board: (5, None))
    monkeypatch.setattr(history.time, "time", lambda: NOW + 0.9)
    monkeypatch.setattr(kept, "keep", lambda header, moment: figures.update(vars(moment)))

    class Board:
        header = None

        def in_flight(self):
            return InFlight(1, 2, None, 4)

    History(None, Board()).keep()
    assert Moment(**figures) == Moment(NOW, 1, 2, None, None, 5, 4)


@pytest.mark.parametrize(
    ("query", "asks"),
    [
        ("history", True),
        ("history=1", True),
        ("since=0&history", True),
        ("history&since=0", True),
        ("", False),
        ("histories", False),
        ("prehistory", False),
        ("x=history", False),
    ],
)
def test_who_asks(query, asks):
    """?history asks for it, at PATH.json alone."""
    told = columns([Moment(NOW, 1, 2, 3, 4, 5, 6)])
    app = StatusApp(load({}, {}), lambda since=None: SNAPSHOT, pytest.fail, history=lambda: told)
    found = parsed(app.answer("GET", "/_raindrops.json", query=query).body)
    assert found.pop("history", None) == (told if asks else None)
    assert found == json.loads(app.answer("GET", "/_raindrops.json").body)
    assert b"history" not in app.answer("GET", "/_raindrops", query=query).body


def test_where_nobody_keeps_it():
    """It is null."""
    app = StatusApp(load({}, {}), lambda: SNAPSHOT, pytest.fail)
    assert parsed(app.answer("GET", "/_raindrops.json", query="history").body)["history"] is None
