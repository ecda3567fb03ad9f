"""The screen, drawn without a terminal."""

import re

import pytest

from gunicorn_raindrops.cli.terminal import columns
from gunicorn_raindrops.cli.top.cells import Cells
from gunicorn_raindrops.cli.top.model import Model
from gunicorn_raindrops.cli.top.view import Painter, lines

from .documents import listener, request, status, worker

pytestmark = pytest.mark.once

BUSY = status(
    worker(0),
    worker(1, state="calling", current=request("/report", 65.0, "/srv/app/views.py:42 in slow")),
    listeners=[listener("unix", backlog=None), listener("0.0.0.0:80", queued=90, backlog=100)],
    exits={"killed": 3, "graceful": 0},
    killed=[
        {"time": 1e9, "pid": 7, "cause": "killed", "current": request("/x", 2.0), "where": "a:1"}
    ],
    saturation=1.25,
)


def drawn(*documents, width=80, height=24, is_ascii=False, keys=(), problem=None):
    """Return the screen's lines, as text; each must be as wide as the screen."""
    model = Model()
    for document in documents:
        model.feed(document)
    for key in keys:
        model.press(key)
    model.problem = problem
    found = lines(model, "the server", Cells(is_ascii), width, height)
    painted = [re.sub(r"\x1b\[[0-9;]*m", "", Painter().paint(one, width)) for one in found]
    assert len(painted) == height
    assert {columns(one) for one in painted} <= {width}
    assert all(one.isprintable() for one in painted)
    return painted


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_everything_is_there(width, height):
    """On a small screen and on a large one."""
    screen = "\n".join(drawn(BUSY, width=width, height=height))
    for part in (
        "the server", "up 60.0s", "calling          1", "saturation    125%", "workers        2/2",
        "_C", "killed 3", "worker 7 killed: GET /x after 2.0s, a:1",
        "GET /report", "views.py:42", "age of request", "q quit",
    ):  # fmt: skip
        assert part in screen
    assert re.search(r"0\.0\.0\.0:80 +90/100 .*\[#+\.", screen)
    assert screen.index("0.0.0.0:80") < screen.index("unix")
    assert "graceful" not in screen


@pytest.mark.parametrize("width", [0, 1, 5, 20, 37, 60, 79])
@pytest.mark.parametrize("height", [1, 2, 3, 8, 15])
def test_little_room(width, height):
    """Something fits always."""
    drawn(BUSY, width=width, height=height)
    drawn(BUSY, width=width, height=height, keys="h")


def test_many_workers():
    """As many as fit, and so the scoreboard and the listeners."""
    many = [worker(slot, state="calling", current=request("/many")) for slot in range(500)]
    places = [listener(f"127.0.0.1:{port}") for port in range(100)]
    screen = drawn(status(*many, listeners=places))
    assert 5 <= sum("/many" in line for line in screen) <= 15
    assert sum(line.startswith("CCCC") for line in screen) == 2
    assert any("more listeners" in line for line in screen)
    assert "500 workers" in screen[-1]


HOSTILE = "[red]\x1b[2J\x1b]0;x\x07\n\r\t\x9b\u202e\u2028\udcff" + "x[/]" * 4096


@pytest.mark.parametrize("is_ascii", [False, True])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_hostile_texts(is_ascii, width, height):
    """Wherever they are, they are escaped and cut; markup and escapes are shown as they are."""
    current = request(HOSTILE, 1.0, HOSTILE, HOSTILE)
    document = status(
        worker(state=HOSTILE, current=current),
        listeners=[listener(HOSTILE)],
        scoreboard=HOSTILE,
        exits={HOSTILE: 1},
        killed=[{"time": 1e300, "pid": 1, "cause": HOSTILE, "current": current}],
    )
    document["arbiter"] |= {"gunicorn": HOSTILE, "worker_class": HOSTILE}
    screen = drawn(document, width=width, height=height, is_ascii=is_ascii)
    assert "[red]\\x1b[2J" in "\n".join(screen)
    assert not is_ascii or all(one.isascii() for one in screen)
    drawn(document, keys=["/", *"[red]"], problem=HOSTILE)


def test_ascii():
    """Not a letter else, neither in sparklines nor where text is cut."""
    for keys in ("", "h", "/x"):
        assert all(one.isascii() for one in drawn(BUSY, is_ascii=True, keys=keys, width=70))


def test_the_last_line():
    """What is typed, what is wrong, what is filtered."""
    assert drawn(BUSY, keys="/abc")[-1].startswith("filter: abc_")
    assert drawn(BUSY, problem="no answer")[-1].startswith("no answer ")
    last = drawn(BUSY, keys=["/", *"report", "enter"], width=120)[-1]
    assert "1 of 2 workers with 'report'" in last
    assert "paused at" in drawn(BUSY, keys="p")[0]


def test_colours(monkeypatch):
    """There are some, but with NO_COLOR."""
    monkeypatch.setenv("TERM", "xterm-256color")
    model = Model()
    model.feed(BUSY)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for has_colours in (True, False):
        painted = "".join(
            Painter().paint(one, 80) for one in lines(model, "x", Cells(False), 80, 24)
        )
        assert bool(re.search(r"\x1b\[[0-9;]*\b3[0-7][;m]", painted)) == has_colours
        monkeypatch.setenv("NO_COLOR", "1")
