"""The status address of a real server: to whom it discloses, and what it costs the application."""

import struct

import pytest

from .servers import connect


def uwsgi(**variables):
    """Return a request in the uwsgi protocol, as nginx's uwsgi_pass sends it."""
    packed = b"".join(
        struct.pack("<H", len(part)) + part
        for item in variables.items()
        for part in (item[0].encode(), item[1].encode())
    )
    return struct.pack("<BHB", 0, len(packed), 0) + packed


# Who may read.


def test_nothing_is_exposed_to_the_uwsgi_protocol(serve):
    """Its client is a proxy, and names whom it likes. One warning says so."""
    env = {"RAINDROPS_EXPOSE": "1"}
    with serve("--workers", "1", "--protocol", "uwsgi", env=env) as server:
        server.ready(1)
        with connect(server.address) as client:
            client.sendall(
                uwsgi(
                    REQUEST_METHOD="GET",
                    PATH_INFO="/_raindrops",
                    REQUEST_URI="/_raindrops",
                    QUERY_STRING="",
                    SERVER_PROTOCOL="HTTP/1.1",
                    REMOTE_ADDR="127.0.0.1",
                    HTTP_HOST="x",
                )
            )
            assert client.recv(12)[9:] == b"404"
        (warning,) = server.warnings()
        assert "expose: with the uwsgi protocol" in warning


@pytest.mark.parametrize("name", ["Via", "True-Client-IP", "X-Cluster-Client-IP"])
def test_nothing_is_exposed_behind_a_proxy(serve, gunicorn, name):
    """A request with any sign of one is the application's."""
    with serve("--workers", "1", env={"RAINDROPS_EXPOSE": "1"}, gunicorn=gunicorn) as server:
        server.ready(1)
        assert server.get("/_raindrops")[0] == 200
        assert server.get("/_raindrops", headers={name: "1.1 x"})[0] == 404


def test_pages_of_strangers(serve, gunicorn):
    """A rebound name is 421, another site's page 403; with the token any name is answered."""
    with serve("--workers", "1", gunicorn=gunicorn) as server:
        assert server.ask()[0] == 200
        assert server.ask(headers={"Host": "rebound.example"})[0] == 421
        assert server.ask(headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
        assert server.ask(headers={"Host": "gunicorn:9180"})[0] == 421
    env = {"RAINDROPS_TOKEN": "s3cret"}
    with serve("--workers", "1", env=env, gunicorn=gunicorn) as server:
        scrape = {"Host": "gunicorn:9180", "Authorization": "Bearer s3cret"}
        assert server.ask(headers=scrape)[0] == 200
