"""What gunicorn's settings say of its clients, where the status is exposed to them."""

import socket

from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser

from .conftest import Exposed


def parsed(cfg, sent, client):
    """Return the environs that gunicorn makes of what a client has sent on one connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        parser = RequestParser(cfg, ours, client)
        for _ in range(2):
            req = next(parser)
            yield wsgi.create(req, ours, client, ("127.0.0.1", 80), cfg)[1]


def test_exposed_behind_the_proxy_protocol(monkeypatch):
    """Who sends a PROXY line speaks for somebody else on the whole connection, also in the later
    requests of a kept-alive one, for which gunicorn forgets it."""
    cfg = Config()
    cfg.set("proxy_protocol", True if cfg.proxy_protocol is False else "auto")
    exposed = Exposed(monkeypatch, cfg)
    request = b"GET /_raindrops HTTP/1.1\r\nHost: x\r\n\r\n"
    sent = b"PROXY TCP4 203.0.113.7 192.0.2.1 1234 80\r\n" + request + request
    for made in parsed(cfg, sent, ("127.0.0.1", 1234)):
        assert exposed.get(made)[2] == b"the application's"


def test_exposed_through_a_bound_unix_socket(monkeypatch):
    """A unix client may give its socket any name: one that reads like an address is none."""
    exposed = Exposed(monkeypatch)
    sent = b"GET /_raindrops HTTP/1.1\r\nHost: x\r\n\r\n" * 2
    for made in parsed(Config(), sent, "127.0.0.1"):
        assert exposed.get(made)[2] == b"the application's"
