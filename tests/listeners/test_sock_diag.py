"""The requests that we compose are those of pyroute2, to the byte."""

import socket

import pytest
from pyroute2 import netlink
from pyroute2.netlink import diag

from gunicorn_raindrops.listeners import sock_diag

PORTS = [frozenset(), frozenset({80}), frozenset({80, 443, 65535}), frozenset(range(8000, 8300))]


class Request(diag.inet_diag_req):
    """pyroute2 knows no attributes of requests: those of linux/inet_diag.h, in order."""

    nla_map = (("INET_DIAG_REQ_NONE", "none"), ("INET_DIAG_REQ_BYTECODE", "cdata"))


def encoded(request):
    request["header"]["type"] = diag.SOCK_DIAG_BY_FAMILY
    request["header"]["flags"] = netlink.NLM_F_REQUEST | netlink.NLM_F_DUMP
    request.encode()
    return bytes(request.data)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("listening", [True, False])
@pytest.mark.parametrize("ports", PORTS, ids=len)
def test_tcp(family, listening, ports):
    """Family, states, extension, port and filter stand where the kernel looks for them."""
    request = Request()
    request["sdiag_family"] = family
    request["sdiag_protocol"] = socket.IPPROTO_TCP
    request["idiag_states"] = 1 << (diag.SS_LISTEN if listening else diag.SS_ESTABLISHED)
    request["idiag_ext"] = 1 << 6 if listening else 0
    if len(ports) == 1:
        request["idiag_sport"] = next(iter(ports))
    elif not listening:
        code = sock_diag._port_filter(ports)
        request["attrs"] = [("INET_DIAG_REQ_BYTECODE", code)]
    assert sock_diag.tcp_request(family, listening, ports) == encoded(request)


@pytest.mark.parametrize("listening", [True, False])
def test_unix(listening):
    """Likewise for unix sockets."""
    request = diag.unix_diag_req()
    request["sdiag_family"] = socket.AF_UNIX
    request["udiag_states"] = 1 << (diag.SS_LISTEN if listening else diag.SS_ESTABLISHED)
    request["udiag_show"] = diag.UDIAG_SHOW_NAME | diag.UDIAG_SHOW_VFS
    if listening:
        request["udiag_show"] |= diag.UDIAG_SHOW_RQLEN
    assert sock_diag.unix_request(listening) == encoded(request)
