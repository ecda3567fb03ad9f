"""Who may read the status; test_app.py has what becomes of those who may not."""

import subprocess
import sys

import pytest

from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status.access import Access

from ..bounds import WAIT

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("given", "may_read"),
    [
        ("Bearer s3cret", True),
        ("bearer  s3cret ", True),
        ("Bearer s3cre", False),
        ("Basic s3cret", False),
        ("s3cret", False),
        ("", False),
        (None, False),
    ],
)
def test_token(given, may_read):
    """A bearer token in whatever case of the scheme; without one in the settings, anything."""
    assert Access(load({"token": "s3cret"}, {})).may_read(given) is may_read
    assert Access(load({}, {})).may_read(given)


def test_a_server_without_token_imports_no_hashes():
    """hashlib would be memory of every worker."""
    code = (
        "import sys; from gunicorn_raindrops.settings import load; "
        "from gunicorn_raindrops.status.access import Access; Access(load({}, {})); "
        "print('hashlib' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("allow", "peer", "admitted"),
    [
        ("127.0.0.1,::1", "127.0.0.1", True),
        ("127.0.0.1,::1", "::1", True),
        ("127.0.0.1,::1", "127.0.0.2", False),
        ("127.0.0.1,::1", "10.0.0.1", False),
        ("127.0.0.1,::1", "::2", False),
        ("127.0.0.1,::1", "", False),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "::ffff:10.0.0.1", False),
        ("127.0.0.1", "::1", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.1.1.1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("fe80::/10", "fe80::1", True),
        ("2001:db8::/32", "2001:db8::5", True),
        ("2001:db8::/32", "2001:db9::5", False),
        ("0.0.0.0/0", "::1", False),
        ("0.0.0.0/0,::/0", "::1", True),
        ("unix", "", True),
        ("unix", "127.0.0.1", False),
        ("unix,127.0.0.1", "127.0.0.1", True),
        ("", "127.0.0.1", False),
        ("", "", False),
        ("127.0.0.1", "localhost", False),
        ("127.0.0.1", "127.0.0.1, 10.0.0.1", False),
        ("127.0.0.1", " 127.0.0.1", False),
        ("127.0.0.1", "0127.0.0.1", False),
        ("127.0.0.1", "unknown", False),
    ],
)
def test_who_is_admitted(allow, peer, admitted):
    """Peers in one of the networks, those of a dual-stack listener by their IPv4 address, and
    peers of a unix listener, which have no address, only where `allow` says `unix`."""
    access = Access(load({"allow": allow}, {}))
    assert access.admits({"REMOTE_ADDR": peer}) is admitted


SIGNS = [
    "PROXY_PROTOCOL", "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded",
    "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Original-Forwarded-For",
    "X-Real-IP", "X-Client-IP", "Client-IP", "X-Cluster-Client-IP", "True-Client-IP",
    "CF-Connecting-IP", "CF-Connecting-IPv6", "CF-Ray", "CF-Visitor", "CDN-Loop",
    "Fastly-Client-IP", "Fastly-FF", "Akamai-Origin-Hop", "X-Akamai-Edgescape", "Incap-Client-IP",
    "X-Azure-ClientIP", "X-Azure-SocketIP", "X-Appengine-User-IP", "X-Envoy-External-Address",
    "X-Amzn-Trace-Id", "X-Amz-Cf-Id", "Fly-Client-IP", "DO-Connecting-IP", "X-Remote-IP",
    "X-Remote-Addr", "X-Originating-IP", "X-ProxyUser-IP", "WL-Proxy-Client-IP", "X-Varnish",
    "X-Sucuri-ClientIP", "X-Original-URI", "X-Request-Start", "X-Queue-Start", "Max-Forwards",
    "Surrogate-Capability", "X-Scheme", "X-Nginx-Proxy", "X-Accel-Mapping", "X-Sendfile-Type",
    "X-ARR-LOG-ID", "X-ARR-SSL", "X-SSL-Client-Cert", "SSL-Client-Verify", "X-Client-Cert",
    "Client-Cert", "Client-Cert-Chain", "X-TLS-Client-Cert", "Remote-User", "X-Remote-User",
    "X-Auth-Request-Email", "X-Goog-Authenticated-User-Email", "X-Cloud-Trace-Context",
    "X-MS-Client-Principal", "X-Kong-Request-Id", "X-NF-Client-Connection-IP", "X-Src-IP",
    "Tailscale-User-Login", "X-Ingress-Path", "X-Rewrite-URL", "X-Script-Name", "X-HTTPS",
    "X-Iinfo",
]  # fmt: skip


def _key(name):
    """Return a header's name as WSGI has it."""
    return name if name == "PROXY_PROTOCOL" else "HTTP_" + name.upper().replace("-", "_")


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", ""])
@pytest.mark.parametrize("value", ["127.0.0.1", "10.0.0.1", ""])
@pytest.mark.parametrize("name", SIGNS)
def test_forwarded_requests_are_never_local(name, value, peer):
    """A proxy on this machine speaks for somebody else, whom it names or does not."""
    access = Access(load({"allow": "0.0.0.0/0,::/0,unix"}, {}))
    assert access.admits({"REMOTE_ADDR": peer})
    assert not access.admits({"REMOTE_ADDR": peer, _key(name): value})


@pytest.mark.parametrize(
    "name", ["Accept", "Authorization", "Cookie", "Host", "User-Agent", "X-Request-ID", "Referer"]
)
def test_what_is_no_sign_of_a_proxy(name):
    """Headers that a local reader's client sends on its own."""
    access = Access(load({}, {}))
    assert access.admits({"REMOTE_ADDR": "127.0.0.1", _key(name): "x"})
