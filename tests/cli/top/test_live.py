"""What comes of a source, in a model."""

import pytest

from gunicorn_raindrops.cli.terminal import Failed
from gunicorn_raindrops.cli.top.live import hear
from gunicorn_raindrops.cli.top.model import Model
from gunicorn_raindrops.cli.top.source import Ended, News

from .documents import status, worker

pytestmark = pytest.mark.once


def test_news():
    """A status with its note; none; something that is no status; the end."""
    model = Model()
    hear(model, News(status(worker()), "no listeners"), 1e9)
    assert (model.problem, model.note) == (None, "no listeners")
    for news, said in (
        (Failed("refused"), "refused"),
        (News({}), "no status"),
        (Ended("has ended"), "last figures"),
    ):
        hear(model, news, 1e9)
        assert said in model.problem
    assert model.shown.workers
