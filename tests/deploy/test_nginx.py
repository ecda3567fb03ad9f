"""A real nginx with the shipped files, in front of a real gunicorn with its shipped config.

Both are as shipped, but for paths and ports. nginx runs as root here, since a test's folder is
nobody else's; the shipped umask is checked on the socket.
"""

import http.client
import os
import re
import shutil
import socket
import stat
import subprocess
import time

import pytest

from ..bounds import WAIT
from ..integration.servers import ROOT, Server, eventually
from ..ports import free_port

pytestmark = pytest.mark.once

FOLDER = ROOT / "examples/deploy/nginx"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
TOKEN = "a-token-of-the-tests"
STATUS = "    # The status is not here"

MAIN = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class Nginx:
    """Use it in `with`; `socket` is that of gunicorn, `status` its status address."""

    def __init__(self, folder, socket, status, with_status=False):
        if NGINX is None:
            pytest.skip("no nginx: apt-get install nginx-light")
        self.port = free_port()
        self._main = folder / "nginx.conf"
        user = "user root;" if os.getuid() == 0 else ""
        self._main.write_text(MAIN.format(folder=folder, user=user))
        site = (FOLDER / "site.conf").read_text()
        if with_status:
            site = site.replace(STATUS, f"    include {folder}/status.conf;\n{STATUS}")
        for name, text in {
            "site.conf": site,
            "status.conf": (FOLDER / "status.conf").read_text(),
        }.items():
            text = text.replace("/run/app/gunicorn.sock", str(socket))
            text = text.replace("127.0.0.1:9180", "{}:{}".format(*status))
            text = text.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
            (folder / name).write_text(text)

    def check(self):
        """Return what `nginx -t` says."""
        command = [NGINX, "-t", "-c", self._main]
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT).stderr

    def __enter__(self):
        self._process = subprocess.Popen([NGINX, "-c", self._main], stderr=subprocess.DEVNULL)
        eventually(self._listens, "nginx")
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(WAIT)

    def _listens(self):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def get(self, path, headers=None):
        """Ask nginx; returns status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        try:
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def shipped(folder):
    """Return gunicorn's shipped config, for that folder, with any free port."""
    conf = (FOLDER / "gunicorn.conf.py").read_text()
    return conf.replace("/run/app", str(folder)).replace(":9180", ":0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def gunicorn(folder):
    """It listens where the shipped config says, but in the test's folder."""
    with Server(folder, "--workers", "2", conf=shipped(folder), bind=()) as server:
        server.ready(2)
        yield server


@pytest.fixture(scope="module")
def nginx(gunicorn, folder):
    with Nginx(folder, folder / "gunicorn.sock", gunicorn.status_address) as nginx:
        yield nginx


def test_nginx_takes_the_files(tmp_path):
    """Both of them."""
    nginx = Nginx(tmp_path, tmp_path / "none.sock", ("127.0.0.1", 9180), with_status=True)
    assert "test is successful" in nginx.check()


def counted(server):
    """Return how many requests have ended, and how many of them had a proxy's header."""
    status = server.settled()
    return status["requests"], status["queue_seconds"]["header"]["count"]


def test_requests_wait_and_are_counted(gunicorn, nginx):
    """Each request's time since nginx had it is in the figures, and nginx's own listener is."""
    before = counted(gunicorn)
    for _ in range(20):
        assert nginx.get("/") == (200, b"hello\n")
    assert counted(gunicorn) == (before[0] + 20, before[1] + 20)
    status = gunicorn.status()
    assert status["queue_seconds"]["ignored"] == 0
    assert status["queue_seconds"]["count"] == 0  # the kernel's: there is none of a unix socket
    assert "0.0.0.0:80" in {one["address"] for one in status["listeners"]}


def test_visitors_cannot_say_since_when(gunicorn, nginx):
    """What they send by either name is replaced or removed."""
    before = counted(gunicorn)
    long_ago = f"t={time.time() - 1000:.3f}"
    for name in ("X-Request-Start", "X-Queue-Start"):
        assert nginx.get("/", headers={name: long_ago})[0] == 200
    assert counted(gunicorn) == (before[0] + 2, before[1] + 2)
    assert gunicorn.status()["queue_seconds"]["header"]["max"] < 900


def test_the_status_is_not_there(gunicorn, nginx):
    """The application answers those paths, also to who says to be local."""
    before = counted(gunicorn)
    for path in ("/_raindrops", "/_raindrops.json", "/_raindrops.prom", "/metrics", "/status"):
        for headers in ({}, {"Host": "localhost"}, {"X-Forwarded-For": "127.0.0.1"}):
            assert nginx.get(path, headers) == (404, b"")
    assert counted(gunicorn)[0] == before[0] + 15


def test_who_may_connect_to_the_socket(gunicorn, folder):
    """Owner and group: whoever connects there is trusted like nginx."""
    mode = (folder / "gunicorn.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o770


def test_the_status_for_those_who_have_the_token(tmp_path):
    """Where status.conf is included: others get a 401, and the page, which has no figures."""
    env = {"RAINDROPS_TOKEN": TOKEN}
    with Server(tmp_path, conf=shipped(tmp_path), bind=(), env=env) as server:
        server.logged("Booting worker")
        where = (tmp_path, tmp_path / "gunicorn.sock", server.status_address)
        with Nginx(*where, with_status=True) as nginx:
            for suffix in ("", ".json", ".prom", ".html"):
                path = f"/_raindrops{suffix}"
                assert nginx.get(path)[0] == (200 if suffix == ".html" else 401)
                status, body = nginx.get(path, {"Authorization": f"Bearer {TOKEN}"})
                assert status == 200
                assert re.search(rb"calling|<html", body)
