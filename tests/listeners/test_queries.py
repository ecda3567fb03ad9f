"""The requests, against the structs of the kernel's headers, byte for byte."""

import socket
import subprocess
import sys
from struct import pack

import pytest
from pyroute2.netlink import diag

from gunicorn_raindrops.listeners import queries

PORTS = [frozenset(), frozenset({80}), frozenset({80, 443, 65535}), frozenset(range(8000, 8300))]
DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
SKMEMINFO = 1 << 6
LISTEN, ESTABLISHED = 1 << 10, 1 << 1
NAME, VFS, RQLEN = 0x01, 0x02, 0x10


def message(body):
    """Put struct nlmsghdr before a body: SOCK_DIAG_BY_FAMILY, not numbered yet."""
    return pack("=IHHII", 16 + len(body), 20, DUMP, 0, 0) + body


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("listening", [True, False])
@pytest.mark.parametrize("ports", PORTS, ids=len)
def test_tcp(family, listening, ports):
    """struct inet_diag_req_v2, with the filter as its one attribute where it needs one."""
    port = next(iter(ports)) if len(ports) == 1 else 0
    extension, states = (SKMEMINFO, LISTEN) if listening else (0, ESTABLISHED)
    body = pack("=BBBxI", family, socket.IPPROTO_TCP, extension, states)
    body += pack(">H", port) + bytes(2 + 16 + 16 + 4 + 8)
    code = queries._port_filter(ports)
    if ports and not listening and not port:
        body += pack("=HH", 4 + len(code), 1) + code if code else b""
    assert queries.tcp(family, listening, ports) == message(body)


@pytest.mark.parametrize("listening", [True, False])
def test_unix(listening):
    """struct unix_diag_req."""
    states = LISTEN if listening else ESTABLISHED
    body = pack("=BxxxIIIxxxxxxxx", socket.AF_UNIX, states, 0, NAME | VFS | RQLEN)
    assert queries.unix(listening) == message(body)


@pytest.mark.skipif(sys.platform != "linux", reason="sock_diag is Linux's")
@pytest.mark.parametrize("listening", [True, False])
def test_any_port(listening):
    """Without ports, no filter refuses any."""
    any_port = queries.tcp(socket.AF_INET, listening, frozenset())
    assert any_port == queries.tcp(socket.AF_INET, listening, frozenset([0]))


def test_composed_by_pyroute2_and_once(monkeypatch):
    """Each request is one of its messages; a second reading composes none."""
    encoded = []
    encode = diag.nlmsg.encode
    monkeypatch.setattr(diag.nlmsg, "encode", lambda self: (encoded.append(self), encode(self)))
    queries.tcp.cache_clear()
    queries.unix.cache_clear()
    for _ in range(2):
        queries.tcp(socket.AF_INET, False, frozenset({80, 443}))
        queries.unix(True)
        assert [type(one).__bases__[0].__name__ for one in encoded] == [
            "inet_diag_req", "nlmsg",
        ]  # fmt: skip


ALONE = """
import builtins, sys
from gunicorn_raindrops.listeners import queries

class Needing:  # another pyroute2, whose parts need the whole
    def find_spec(self, name, *args):
        if name == "pyroute2.netlink":
            sys.meta_path.remove(self)
            raise getattr(builtins, sys.argv[1])(name)

if sys.argv[1:]:
    sys.meta_path.insert(0, Needing())
queries.load_alone()
if not sys.argv[1:]:
    assert not {"pyroute2", "pyroute2.netlink", "asyncio"} & set(sys.modules)
print((queries.tcp(2, True, frozenset()) + queries.unix(False)).hex())
import pyroute2
pyroute2.IPRoute
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sock_diag is Linux's")
@pytest.mark.parametrize("arguments", [[], ["ImportError"], ["AttributeError"]])
def test_without_the_rest_of_pyroute2(arguments):
    """The requests are the same, and pyroute2 can be imported whole afterwards."""
    command = [sys.executable, "-c", ALONE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    expected = queries.tcp(2, True, frozenset()) + queries.unix(False)
    assert done.stdout.strip() == expected.hex()
