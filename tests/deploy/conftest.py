"""Fixtures of the tests of examples/deploy: a real gunicorn."""

import pytest

from ..integration.servers import Server


@pytest.fixture
def serve(tmp_path):
    """Return a function that makes a Server; the test starts it in `with`."""

    def make(*args, **kwargs):
        return Server(tmp_path, *args, **kwargs)

    return make
