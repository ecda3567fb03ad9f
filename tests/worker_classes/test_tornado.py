"""A tornado application's requests, between a server's connection and a delegate by hand."""

from types import SimpleNamespace

import pytest

from gunicorn_raindrops.worker_classes import tornado as tornado_requests


class Seat:
    """Writes down what is counted."""

    def __init__(self):
        self.said = []

    def begin(self, method, path):
        self.said.append(f"begin {method} {path}")
        return 7

    def respond(self, ticket):
        assert ticket == 7
        self.said.append("respond")

    def end(self, ticket, how):
        assert ticket == 7
        self.said.append(("end", how))

    def open(self):
        self.said.append("open")
        return True

    def close(self):
        self.said.append("close")


class Stream:
    callback = None

    def set_close_callback(self, callback):
        self.callback = callback


class Connection:
    def __init__(self):
        self.calls = []
        self.stream = Stream()

    def write_headers(self, start_line, headers, chunk=None):
        self.calls.append(("write_headers", start_line.code, chunk))
        return "future"

    is_refused = False

    def finish(self):
        if self.is_refused:
            raise ValueError("less than Content-Length")
        self.calls.append("finish")

    def detach(self):
        return self.stream


class Application:
    """As much of tornado.web.Application as is asked."""

    def __init__(self):
        self.delegate = SimpleNamespace(
            headers_received=lambda line, headers: (line, headers),
            data_received=lambda chunk: chunk,
            finish=lambda: "finished",
            on_connection_close=lambda: None,
        )

    def start_request(self, server_connection, connection):
        return self.delegate


@pytest.fixture
def request_():
    seat, connection, application = Seat(), Connection(), Application()
    tornado_requests.count(application, seat)
    delegate = application.start_request(None, connection)
    line = SimpleNamespace(method="GET", path="/x?secret=1")
    assert delegate.headers_received(line, "headers") == (line, "headers")
    assert delegate.data_received(b"x") == b"x"
    assert delegate.finish() == "finished"
    return seat.said, connection, delegate


WRITING = 8
CANCELLED = 32
ERROR = 16


@pytest.mark.parametrize(("code", "hundreds"), [(200, 2), (404, 4), (503, 5), (999, 0)])
def test_a_request(request_, code, hundreds):
    """It begins with its headers and ends with its response, once; the server sees all calls."""
    said, connection, delegate = request_
    assert said == ["begin GET /x"]
    assert connection.write_headers(SimpleNamespace(code=code), None, chunk=b"x") == "future"
    assert said == ["begin GET /x", "respond"]
    connection.finish()
    connection.finish()
    delegate.on_connection_close()
    assert said == ["begin GET /x", "respond", ("end", WRITING | hundreds)]
    assert connection.calls == [("write_headers", code, b"x"), "finish", "finish"]


@pytest.mark.parametrize(("code", "how"), [(0, ERROR), (200, WRITING | ERROR | 2)])
def test_a_response_that_is_refused(request_, code, how):
    """It is over, and an error: tornado raises where it would be finished."""
    said, connection, delegate = request_
    connection.is_refused = True
    if code:
        connection.write_headers(SimpleNamespace(code=code), None)
    with pytest.raises(ValueError, match="less"):
        connection.finish()
    delegate.on_connection_close()
    assert said[-1] == ("end", how)
    assert [entry for entry in said if entry == ("end", how)] == said[-1:]


def test_a_client_that_goes_first(request_):
    """Its request has no class."""
    said, _, delegate = request_
    delegate.on_connection_close()
    assert said == ["begin GET /x", ("end", 0)]


@pytest.mark.parametrize("callback", [True, False])
def test_a_websocket(request_, callback):
    """Its handshake is no request; it is open until its stream is closed, which the application
    learns as ever."""
    said, connection, _ = request_
    connection.write_headers(SimpleNamespace(code=101), None)
    connection.finish()
    stream = connection.detach()
    assert said[2:] == [("end", WRITING | CANCELLED), "open"]
    closed = []
    if callback:
        stream.set_close_callback(lambda: closed.append(True))
    stream.callback()
    assert said[4:] == ["close"]
    assert closed == [True] * callback
