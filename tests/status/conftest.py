"""What the tests of the status have in common: listeners of each family."""

import socket
from contextlib import closing

import pytest

from gunicorn_raindrops.settings import Settings, load
from gunicorn_raindrops.status.listener import listen, new_socket


def open_listener(address, mode=Settings.mode):
    """Return a listening socket on a status address."""
    sock = new_socket(address[0])
    try:
        listen(sock, address, mode)
    except BaseException:
        sock.close()
        raise
    return sock


@pytest.fixture(params=["inet", "inet6", "unix"])
def any_listener(request, tmp_path):
    bind = {"inet": "127.0.0.1:0", "inet6": "[::1]:0", "unix": f"unix:{tmp_path}/s"}
    with closing(open_listener(load({"bind": bind[request.param]}, {}).address)) as listener:
        yield listener


@pytest.fixture
def listener():
    with closing(open_listener((socket.AF_INET, ("127.0.0.1", 0)))) as listener:
        yield listener


@pytest.fixture
def unix(tmp_path):
    """Where the kernel does not hold a silent client back (TCP_DEFER_ACCEPT)."""
    with closing(open_listener((socket.AF_UNIX, f"{tmp_path}/s"))) as listener:
        yield listener
