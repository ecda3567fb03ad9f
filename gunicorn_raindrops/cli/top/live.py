"""The loop: news and keys into the model, the model onto the screen."""

from __future__ import annotations

import time

from ..terminal import Failed, has_unicode
from .cells import Cells
from .model import Model
from .reader import Reader
from .screen import Screen
from .source import Ended, News, Source
from .view import Painter, lines

_SILENCE = 3.0  # seconds beyond the delay after which a server is said to be silent


def watch(source: Source, delay: float) -> None:
    """Show a source until the user has seen enough.

    Raises:
        Failed: there is nothing to show to begin with.
        Signalled: a signal ends it.
    """
    model = Model()
    _take(model, source.read())
    cells, painter = Cells(not has_unicode()), Painter()
    with Screen() as screen, Reader(source, delay, screen.wake) as reader:
        heard = time.monotonic()
        while not model.is_over:
            width, height = size = screen.size()
            drawn = lines(model, source.name, cells, width, height)
            screen.draw([painter.paint(line, width) for line in drawn], size)
            for key in screen.wait(delay + _SILENCE):
                model.press(key)
            for news in reader.news():
                heard = time.monotonic()
                hear(model, news, time.time())
            if not model.problem and time.monotonic() - heard > delay + _SILENCE:
                model.fail("it is silent", time.time())


def hear(model: Model, news: News | Failed, now: float) -> None:
    """Have a model take what was read, at some Unix time."""
    try:
        if isinstance(news, Failed):
            raise news
        _take(model, news)
    except Ended as ended:
        model.fail(str(ended), now, is_final=True)
    except Failed as failed:
        model.fail(str(failed), now)


def _take(model: Model, news: News) -> None:
    model.feed(news.status)
    model.note = news.note
