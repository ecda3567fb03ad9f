"""gevent's own server: what its handler knows in the end is what counts.

The handler is a stand-in; tests/integration/test_outcomes.py has real ones.
"""

from types import SimpleNamespace

import pytest

from gunicorn_raindrops.worker_classes import greenlets, pywsgi, strategy_for

pytest.importorskip("gevent.pywsgi")


class Held:
    def __init__(self):
        self.ends = []

    def begin(self, method, path):
        self.begun = method, path
        return 1

    def end(self, ticket, how):
        self.ends.append(how)


class Connection:
    """A handler whose responses end as a test says."""

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/x"}  # noqa: RUF012
    code = None
    response_length = 0

    def __init__(self, code=None, length=0, error=None, raised=None):
        self.told = code, length, error, raised

    def handle_one_response(self):
        self.code, self.response_length, error, raised = self.told
        if error is not None:
            self.handle_error(type(error), error, None)
        if raised is not None:
            raise raised

    def handle_error(self, kind, error, traceback):
        pass


ERROR = 16
RAISED = ValueError("no")


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ({"code": 200, "length": 9}, 2),
        ({"code": -200, "length": 9}, 2),  # the client went within the body
        ({"code": -200}, 0),  # before it
        ({}, 0),
        ({"code": 500, "length": 9, "error": RAISED}, 5 | ERROR),
        ({"code": 200, "length": 9, "error": RAISED}, 2 | ERROR),
        ({"code": 500, "length": 9, "error": SystemExit()}, 5 | ERROR),
        ({"error": SystemExit()}, 0),
        ({"code": 400, "length": 9}, 4),
        ({"raised": RAISED}, ERROR),
    ],
    ids=repr,
)
def test_ends(handler, expected):
    """The class of the code that was sent, none if nothing was; an error if the application
    raised one, or an exit that was answered with a 500."""
    strategy = pywsgi.PyWSGI()
    strategy._held = held = Held()
    worker = SimpleNamespace(wsgi=lambda environ, start: [], wsgi_handler=Connection)
    strategy.wrap(worker, None)
    connection = worker.wsgi_handler(**handler)
    try:
        connection.handle_one_response()
    except ValueError as error:
        assert error is handler["raised"]
    assert held.begun == ("GET", "/x")
    assert held.ends == [expected]


def test_whose_server_it_is():
    """gevent's with its handler, or one derived from it; others are wrapped from outside."""
    ggevent = pytest.importorskip("gunicorn.workers.ggevent")

    class Others(ggevent.GeventPyWSGIWorker):
        wsgi_handler = Connection

    class Derived(ggevent.GeventPyWSGIWorker):
        wsgi_handler = type("Handler", (ggevent.PyWSGIHandler,), {})

    assert strategy_for(ggevent.GeventPyWSGIWorker) is pywsgi.PyWSGI
    assert strategy_for(Derived) is pywsgi.PyWSGI
    assert strategy_for(Others) is greenlets.AroundWSGI
    assert strategy_for(ggevent.GeventWorker) is greenlets.Greenlets
