"""Fixtures of the integration tests: each gunicorn, each worker class."""

import pytest

from .servers import CLASSES, GUNICORNS, Background, Server


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


@pytest.fixture(params=CLASSES)
def worker_class(request):
    """The command line of each worker class."""
    return CLASSES[request.param]


@pytest.fixture
def background():
    """Requests beside the test, all of them over when it ends."""
    background = Background()
    yield background
    background.join(errors=True)
