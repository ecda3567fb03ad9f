"""Fixtures of the integration tests: a server, each gunicorn, requests in the background."""

import pytest

from .classes import CLASSES, LIVING
from .servers import GUNICORNS, Background, Server


@pytest.fixture
def serve(tmp_path):
    """Return a function that makes a Server; the test starts it in `with`."""

    def make(*args, **kwargs):
        return Server(tmp_path, *args, **kwargs)

    return make


@pytest.fixture(params=GUNICORNS)
def gunicorn(request):
    """Each gunicorn that the tests run on."""
    return request.param


@pytest.fixture(params=LIVING)
def worker_class(request):
    """The command line of each worker class whose life the tests live."""
    return CLASSES[request.param].args


@pytest.fixture
def background():
    """Requests beside the test, all of them over when it ends."""
    background = Background()
    yield background
    background.join(errors=True)
