"""Greenlets that switch while they are looked at: nobody is given another's line. What real ones
are told of is in integration/test_where.py."""

import sys

import pytest

from gunicorn_raindrops.looking.flight import Flight
from gunicorn_raindrops.looking.greenlets import OfGreenlets, Running


class Greenlet:
    """Stands in for one, with what each look at its frame gives."""

    def __init__(self, *seen, dead=False):
        self.dead = dead
        self._seen = list(seen)

    @property
    def gr_frame(self):
        return self._seen.pop(0) if len(self._seen) > 1 else self._seen[0]


def elsewhere():
    return sys._getframe()


@pytest.mark.parametrize(
    ("greenlet", "expected"),
    [
        (Greenlet(elsewhere()), "elsewhere"),
        (Greenlet(None), "lines_of"),  # it runs: on this thread
        (Greenlet(None, elsewhere()), "elsewhere"),  # it ran, until its thread was looked at
        (Greenlet(elsewhere(), None), None),  # it runs again
        (Greenlet(None, dead=True), None),
    ],
)
def test_whose_line(greenlet, expected):
    """The greenlet's own, or none."""
    assert lines_of(greenlet) == expected


def lines_of(greenlet):
    finder = OfGreenlets({1: Running(greenlet, "GET", "/")})
    lines = finder.find([Flight(1, 0, 0, "GET", "/")], {})[1].lines
    ours = [name for file, _, name in lines if file == __file__]
    return ours[-1] if ours else None


def test_one_that_is_over():
    """Is not told of."""
    assert OfGreenlets({}).find([Flight(1, 0, 0, "GET", "/")], {}) == {}
