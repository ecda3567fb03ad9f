"""Parts of a line are as wide as was asked for."""

import pytest

from gunicorn_raindrops.cli.terminal import columns
from gunicorn_raindrops.cli.top.cells import Cells, clock, count, percent, rate

pytestmark = pytest.mark.once

UNICODE, ASCII = Cells(False), Cells(True)


@pytest.mark.parametrize("text", ["", "ab", "\u65e5\u672c\u8a9e", "\x1b[2J", "e" + "\u0301" * 9000])
@pytest.mark.parametrize("cells", [UNICODE, ASCII])
def test_widths(text, cells):
    """Whatever is in the text."""
    for width in range(-1, 9):
        for shown in (cells.left(text, width), cells.right(text, width)):
            assert columns(shown) == max(0, width) and shown.isprintable()
            assert len(shown) < 100


def test_sparks():
    """None is a blank, 0 the lowest, anything more at least one step up; the latest is right."""
    assert UNICODE.spark([0, 1, 4, None, 7], 6) == " \u2581\u2582\u2585 \u2588"
    assert ASCII.spark([0, 0.001, 1], 3) == "_.#"
    assert ASCII.spark([9, 0, 0], 2) == "__"
    assert ASCII.spark([0.5], 1, least=1.0) == "="
    assert ASCII.spark([1], 0) == ASCII.spark([], 0) == ""
    assert ASCII.spark([-1, 1e300], 2) == "_#"


def test_gauges():
    """The least part shows, and more than all is all."""
    assert Cells.gauge(0, 10, 12) == "[..........]"
    assert Cells.gauge(1, 1000, 12) == "[#.........]"
    assert Cells.gauge(99, 10, 5) == "[###]"
    assert Cells.gauge(None, None, 4) == "[..]"
    assert [len(Cells.gauge(1, 2, width)) for width in range(4)] == [0, 1, 2, 3]


def test_figures():
    """A dash for what is not known."""
    assert [count(None), rate(None), percent(None), clock(None)] == ["-"] * 4
    assert [count(12), rate(0.25), rate(123.4), percent(1.25)] == ["12", "0.2", "123", "125%"]
    assert clock(1e12) == clock(-1) == "-"
