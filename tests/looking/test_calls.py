"""A request is known by the call of the application on a thread's stack, and nowhere else."""

from gunicorn_raindrops.counting import wsgi
from gunicorn_raindrops.looking.calls import OfCall
from gunicorn_raindrops.looking.flight import Flight


class Nowhere:
    """A slot that counts nothing."""

    def respond(self, ticket):
        pass

    def end(self, ticket, how):
        pass


def test_whose_call():
    """The ticket of the call is looked for; another one's is not found."""
    seen = []

    def app(environ, start_response):
        flights = [Flight(ticket, 0, 0, "GET", "/") for ticket in (7, 8)]
        seen.append(OfCall().find(flights, {}))
        return [b""]

    for chunk in wsgi.call(app, Nowhere(), 7, {}, None):
        assert chunk == b""
    assert list(seen[0]) == [7]
    assert "app" in [name for _, _, name in seen[0][7].lines]
    assert OfCall().find([Flight(7, 0, 0, "GET", "/")], {}) == {}
