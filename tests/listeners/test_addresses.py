"""Addresses as text; the kernel's own view of them is in test_listeners.py and test_unix.py."""

import socket

import pytest

from gunicorn_raindrops.listeners import addresses


@pytest.mark.parametrize(
    ("family", "address", "name"),
    [
        (socket.AF_INET, ("127.0.0.1", 80), "127.0.0.1:80"),
        (socket.AF_INET6, ("::1", 80, 0, 0), "[::1]:80"),
        (socket.AF_INET6, ("::", 80, 0, 0), "[::]:80"),
        (socket.AF_UNIX, "/run/x.sock", "/run/x.sock"),
        (socket.AF_UNIX, "x.sock", "x.sock"),
        (socket.AF_UNIX, b"\0name", "@name"),
        (socket.AF_UNIX, b"\0\xff", "@\udcff"),
    ],
)
def test_name_of(family, address, name):
    """As the status shows it, from what getsockname() gives."""
    assert addresses.name_of(family, address) == name


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("", None),
        ("127.0.0.1:9180", (socket.AF_INET, ("127.0.0.1", 9180))),
        ("localhost:0", (socket.AF_INET, ("localhost", 0))),
        ("[::1]:80", (socket.AF_INET6, ("::1", 80))),
        ("[fe80::1%eth0]:80", (socket.AF_INET6, ("fe80::1%eth0", 80))),
        ("unix:/run/x.sock", (socket.AF_UNIX, "/run/x.sock")),
        ("unix:x:80", (socket.AF_UNIX, "x:80")),
    ],
)
def test_what_is_listened_on(bind, address):
    """A host may be a name, and a port 0: any."""
    assert addresses.parse_bind(bind) == address


@pytest.mark.parametrize(
    "bind",
    ["80", ":80", "localhost", "a b:80", "::1:80", "[::g]:80", "127.0.0.1:65536", "127.0.0.1:+1",
     "127.0.0.1:000080", "unix:", f"unix:/{'x' * 107}", "unix:/a\0b"],
)  # fmt: skip
def test_what_cannot_be_listened_on(bind):
    with pytest.raises(ValueError, match="malformed"):
        addresses.parse_bind(bind)


@pytest.mark.parametrize(
    ("given", "address", "family"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", socket.AF_INET),
        ("[::1]:80", "[::1]:80", socket.AF_INET6),
        ("/run/x.sock", "/run/x.sock", socket.AF_UNIX),
        ("run/x.sock", "run/x.sock", socket.AF_UNIX),
        ("unix:x.sock", "x.sock", socket.AF_UNIX),
        ("unix:./x:80", "./x:80", socket.AF_UNIX),
        ("@name:80", "@name:80", socket.AF_UNIX),
    ],
)
def test_listeners(given, address, family):
    """Of every kind, each with the family that it is asked for in."""
    assert addresses.parse_listener(given) == address
    assert addresses.family_of(address) == family


@pytest.mark.parametrize(
    "given",
    ["", "80", "x.sock", "localhost:80", "127.0.0.1:0", "127.0.0.1:0000199999", "[::1]:0", "[x]:80",
     "unix:", "unix:x:80", f"/{'x' * 107}", "@a\0b"],
)  # fmt: skip
def test_no_listeners(given):
    """`unix:x:80` is one that can be written otherwise: without its prefix it reads like an address
    with a port."""
    with pytest.raises(ValueError, match=r"malformed|write \./x:80"):
        addresses.parse_listener(given)
