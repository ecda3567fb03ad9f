"""Fixtures of the integration tests: a server, each gunicorn, requests in the background."""

import contextlib
import os

import pytest

from .classes import CLASSES, LIVING
from .load import Gate
from .servers import GUNICORNS, Background, Server

OLD = "23"
ALL_OLD = os.environ.get("GUNICORN") == OLD
"""Whether to run what there is for the old gunicorn, and nothing else (`make test-old`)."""
ON_BOTH = {
    "test_early_death", "test_exact", "test_life", "test_outcomes", "test_reading",
    "test_violence", "test_waiting", "test_ways_in", "test_where",
}  # fmt: skip
"""What differs most between gunicorns: `make test` runs these on the old one as well."""


def pytest_collection_modifyitems(config, items):
    """Leave out the rest of the tests on the old gunicorn; `make test-old` runs them."""
    chosen = [item for item in items if is_chosen(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


def is_chosen(item):
    """Tell whether a test is to run."""
    params = getattr(item, "callspec", None) and item.callspec.params
    if "integration" not in item.path.parts or not params:
        return not ALL_OLD
    gunicorn, kind = params.get("server") or (params.get("gunicorn"), params.get("kind"))
    if gunicorn != OLD:
        return not ALL_OLD
    return ALL_OLD or (item.path.stem in ON_BOTH and getattr(kind, "name", "sync") == "sync")


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


@pytest.fixture
def gate():
    """What holds requests in the application."""
    with contextlib.closing(Gate()) as gate:
        yield gate
