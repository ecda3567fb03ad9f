"""Reading again and again, in a thread."""

import threading
import time

import pytest

from gunicorn_raindrops.cli.terminal import Failed
from gunicorn_raindrops.cli.top.reader import Reader
from gunicorn_raindrops.cli.top.source import Ended, News

from ...bounds import WAIT

pytestmark = pytest.mark.once


class Source:
    """Gives what it was made with, one after the other."""

    name = "a source"

    def __init__(self, *found, work=0.0):
        self._found = list(found)
        self._work = work
        self.times = []

    def read(self):
        """Return or raise the next."""
        self.times.append(time.monotonic())
        until = time.thread_time() + self._work
        while time.thread_time() < until:
            pass
        one = self._found.pop(0)
        if isinstance(one, Exception):
            raise one
        return one


def read(source, delay=0.001):
    """Return all the news, up to the end."""
    woken, found = threading.Semaphore(0), []
    with Reader(source, delay, woken.release) as reader:
        while not (found and isinstance(found[-1], Ended)):
            assert woken.acquire(timeout=WAIT)
            found += reader.news()
        reader._thread.join(WAIT)
        assert not reader._thread.is_alive()
    return found


def test_news():
    """Each comes in order, also that there is none; after the end nothing is read."""
    found = [News({}), Failed("not now"), News({}, "a note"), Ended("over")]
    assert read(Source(*found, News({}))) == found


def test_the_delay():
    """It is from one begin to the next."""
    source = Source(News({}), Ended("over"))
    began = time.monotonic()
    read(source, 0.2)
    assert [round(at - began, 1) >= 0.2 * turn for turn, at in enumerate(source.times, 1)] == [
        True
    ] * 2


def test_costly_reading():
    """It is done more seldom: a reading of 20 ms leaves more than half a second."""
    source = Source(News({}), Ended("over"), work=0.02)
    read(source)
    assert source.times[1] - source.times[0] > 0.5


def test_a_source_that_does_not_answer():
    """It holds nobody up at the end."""
    stuck = threading.Event()

    class Stuck(Source):
        def read(self):
            stuck.wait(WAIT)
            raise Ended("over")

    began = time.monotonic()
    with Reader(Stuck(), 0.001, lambda: None) as reader:
        assert reader.news() == []
    assert time.monotonic() - began < WAIT / 2
    stuck.set()
