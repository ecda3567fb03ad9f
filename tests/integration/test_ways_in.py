"""Three ways in, and what stands in a user's own gunicorn.conf.py."""

import os
import signal
import socket
import threading

import pytest

from ..bounds import WAIT
from ..ports import free_port
from ..processes import alive, children
from ..schema import parsed
from .servers import ROOT, connect, eventually, rewrite

INSTALL = "import gunicorn_raindrops\ngunicorn_raindrops.hooks.install(globals(){})\n"


def counts(server):
    """Make one good and one failing request; check that they are counted."""
    server.ready(1)
    assert server.get("/") == (200, b"hello\n")
    assert server.get("/boom")[0] == 500

    def counted():
        status = server.settled()
        return status["requests"] == 2 and status

    status = eventually(counted, "both counted")
    assert (status["responses"]["2xx"], status["responses"]["5xx"]) == (1, 1)
    return status


@pytest.mark.parametrize(
    "conf",
    [
        "shipped",
        "from gunicorn_raindrops.hooks import *\n",
        INSTALL.format(""),
        INSTALL.format("") * 2,
        "from gunicorn_raindrops.hooks import *\n" + INSTALL.format(", max_workers=7"),
    ],
)
def test_each_way_counts(serve, gunicorn, conf):
    """The shipped config, import *, install(), twice, and one after the other."""
    with serve("--workers", "1", conf=conf, gunicorn=gunicorn, tracebacks=1) as server:
        status = counts(server)
        assert len(status["scoreboard"]) == (7 if "max_workers" in conf else 1024)
        assert server.warnings() == []


def test_the_example_is_the_shipped_config(serve, tmp_path):
    """examples/gunicorn.conf.py runs as it is, but for the port of its status."""
    conf = (ROOT / "examples/gunicorn.conf.py").read_text()
    assert 'bind="127.0.0.1:9180"' in conf
    conf = conf.replace("127.0.0.1:9180", "127.0.0.1:0")
    with serve("--workers", "1", conf=conf, tracebacks=1) as server:
        counts(server)
        server.logged(r"\] ready$")


HOOKS = """
import os
def say(*words):  # in one write, since others write there too
    os.write(2, " ".join(("mine:",) + words).encode() + b"\\n")
def on_starting(server): say("on_starting")
def when_ready(server): say("when_ready")
def on_reload(server): say("on_reload")
def pre_fork(server, worker): say("pre_fork")
def post_fork(server, worker): say("post_fork")
def post_worker_init(worker): say("post_worker_init")
def pre_request(worker, req): say("pre_request", req.path)
def post_request({arguments}): say("post_request", req.path)
def child_exit(server, worker): say("child_exit")
def worker_exit(server, worker): say("worker_exit")
def on_exit(server): say("on_exit")
"""


@pytest.mark.parametrize(
    "arguments", ["worker, req", "worker, req, environ", "worker, req, environ, resp"]
)
def test_a_users_hooks_still_run(serve, gunicorn, arguments):
    """All of them, once each, whatever number of arguments their post_request takes."""
    conf = HOOKS.format(arguments=arguments) + INSTALL.format("")
    with serve("--workers", "1", conf=conf, gunicorn=gunicorn, tracebacks=1) as server:
        counts(server)
        os.kill(server.pid, signal.SIGHUP)
        server.logged("mine: on_reload")
        server.logged("mine: child_exit")
        eventually(lambda: server.log.count("mine: post_worker_init") == 2, "a new worker")
    said = [line.removeprefix("mine: ") for line in server.log if line.startswith("mine: ")]
    for hook in ("on_starting", "when_ready", "on_reload", "on_exit"):
        assert said.count(hook) == 1, hook
    for hook in ("pre_fork", "post_fork", "post_worker_init", "worker_exit"):
        assert said.count(hook) == 2, hook
    for path in ("/", "/boom"):
        assert said.count(f"pre_request {path}") == said.count(f"post_request {path}") == 1


@pytest.mark.parametrize("hook", ["pre_request", "post_request"])
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_users_hook_that_raises_leaves_the_pair_balanced(serve, gunicorn, hook, kind):
    """gunicorn answers as it would without us; nothing stays in flight."""
    arguments = {"pre_request": "worker, req", "post_request": "worker, req, environ"}[hook]
    conf = f"def {hook}({arguments}):\n    raise RuntimeError('mine')\n" + INSTALL.format("")
    args = ["--workers", "1", "--worker-class", kind]
    with serve(*args, conf=conf, gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(1)
        answers = [server.get("/")[0] for _ in range(5)]
        assert set(answers) == ({500} if hook == "pre_request" else {200})
        # a request that never reaches the application is not counted
        expected = 0 if hook == "pre_request" else 5
        eventually(lambda: server.settled()["requests"] == expected, "counted")
        status = server.settled()
        assert (status["requests"], status["errors"]) == (expected, 0)


def test_a_hook_that_gunicorn_would_refuse_is_still_refused(serve):
    """Wrapping hides no mistake."""
    conf = "def on_starting():\n    pass\n" + INSTALL.format("")
    server = serve(conf=conf)
    with server:
        assert server.process.wait(WAIT) == 1
    assert any("arity" in line for line in server.log)


def test_the_request_log_line_is_still_written(serve, gunicorn):
    """gunicorn's own pre_request, which ours replaces, logs each request at level debug."""
    with serve("--workers", "1", "--log-level", "debug", gunicorn=gunicorn) as server:
        server.ready(1)
        server.get("/nowhere?secret=1")
        server.logged(r"\[DEBUG\] GET /nowhere$")


def test_every_kind_of_listener(serve, gunicorn, tmp_path):
    """IPv4, IPv6 and unix in text and JSON, in the order in which they were given."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    path = tmp_path / "app.sock"
    bind = ("127.0.0.1:0", "[::1]:0", f"unix:{path}")
    with serve("--workers", "1", gunicorn=gunicorn, bind=bind) as server:
        status = server.ready(1)
        four, six, unix = status["listeners"]
        assert (four["address"], four["family"]) == (server.name, "inet")
        assert (six["address"][:6], six["family"]) == ("[::1]:", "inet6")
        assert (unix["address"], unix["family"]) == (str(path), "unix")
        for listener in (four, six, unix):
            assert listener["active"] == listener["queued"] == 0
            assert listener["backlog"] == 2048
        assert (four["dropped"], six["dropped"], unix["dropped"]) == (0, 0, None)
        assert list(server.text()) == ["calling", "writing"] + [
            f"{listener['address']} {figure}"
            for listener in (four, six, unix)
            for figure in ("active", "queued")
        ] + ["waiting"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            eventually(lambda: server.status()["listeners"][2]["active"] == 1, "accepted")


def test_more_listeners(serve, tmp_path):
    """Those of other servers stand beside our own, TCP and unix, also where nobody listens."""
    with socket.create_server(("127.0.0.1", 0), backlog=3) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        nobody = str(tmp_path / "nobody.sock")
        env = {"RAINDROPS_LISTENERS": f"{address}, {nobody}"}
        with serve("--workers", "1", env=env) as server, connect(other.getsockname()):
            status = server.ready(1)
            assert [one["address"] for one in status["listeners"]] == [
                server.name,
                address,
                nobody,
            ]
            eventually(lambda: server.text()[f"{address} queued"] == 1, "one waits there")
            assert server.status()["listeners"][1]["backlog"] == 3
            # what waits elsewhere says nothing about this server
            assert server.status()["saturation"] == 0


def test_a_reload_takes_new_settings(serve, tmp_path, gunicorn, gate):
    """The new workers serve a changed path, on another address with the port of the old one,
    though an old worker is still there, busy."""
    port = free_port()
    conf = INSTALL.format(f", bind='127.0.0.1:{port}', path='/one', token='t'")
    with serve("--workers", "1", conf=conf, gunicorn=gunicorn) as server:
        server.logged(r"status at .*/one$")
        held = gate.hold(server.address)
        good = {"Authorization": "Bearer t"}
        assert b"calling: 1" in server.ask("/one", headers=good)[1]
        file = tmp_path / "gunicorn.conf.py"
        rewrite(file, conf.replace("/one", "/two").replace("127.0.0.1", "0.0.0.0"))
        os.kill(server.pid, signal.SIGHUP)
        server.logged(r"status at http://0.0.0.0:\d+/two$")
        eventually(lambda: server.ask("/two", headers=good)[0] == 200, "the new path")
        assert server.ask("/one", headers=good)[0] == 404
        assert held.release()
        assert server.warnings() == []


def test_a_reload_to_an_address_that_is_taken(serve, tmp_path, gunicorn):
    """The status stays where it was, and one warning says why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        conf = INSTALL.format(", bind='127.0.0.1:0', path='/one'")
        with serve("--workers", "1", conf=conf, gunicorn=gunicorn) as server:
            server.logged(r"status at .*/one$")
            file = tmp_path / "gunicorn.conf.py"
            rewrite(file, conf.replace("/one", "/two").replace("127.0.0.1:0", address))
            os.kill(server.pid, signal.SIGHUP)
            eventually(lambda: server.ask("/two")[0] == 200, "the new path, at the old address")
            (warning,) = server.warnings()
            assert f"bind: {address} cannot be listened on" in warning


def test_a_reload_loses_no_status_request(serve, gunicorn, background):
    """Whoever asked a worker that then ended is answered."""
    with serve("--workers", "2", gunicorn=gunicorn) as server:
        server.ready(2)
        over = threading.Event()

        def poll():
            asked = 0
            while not over.is_set():
                assert server.ask()[0] == 200
                asked += 1
            return asked

        for _ in range(3):
            background.add(poll)
        for _ in range(6):
            before = set(server.workers())
            os.kill(server.pid, signal.SIGHUP)
            eventually(lambda old=before: not old & set(server.workers()), "all workers new")
        over.set()
        assert sum(background.join()) > 100
        assert server.warnings() == []


def test_hooks_that_first_appear_at_a_reload(serve, tmp_path, gunicorn):
    """on_starting has gone by then; the scoreboard is made all the same."""
    with serve("--workers", "1", conf="", gunicorn=gunicorn) as server:
        eventually(lambda: server.get("/")[0] == 200, "serving")
        (tmp_path / "gunicorn.conf.py").write_text("from gunicorn_raindrops.hooks import *\n")
        os.kill(server.pid, signal.SIGHUP)
        server.logged("status at")
        server.ready(1)
        server.get("/")
        eventually(lambda: server.status()["requests"] == 1, "counted")


def test_upgrade_shares_the_scoreboard(serve, gunicorn):
    """USR2: both generations count on one scoreboard, and either answers."""
    with serve("--workers", "1", gunicorn=gunicorn, tracebacks=None) as server:
        server.ready(1)
        server.get("/")
        eventually(lambda: server.status()["requests"] == 1, "counted")
        os.kill(server.pid, signal.SIGUSR2)
        eventually(lambda: len(server.ready(2)["workers"]) == 2, "both generations")
        for _ in range(10):
            server.get("/")
        eventually(lambda: server.status()["requests"] == 11, "counted")
        new = [pid for pid in server.workers() if len(children(pid)) == 1]
        os.kill(server.pid, signal.SIGTERM)
        server.process.wait(WAIT)
        server.ready(1)
        for _ in range(10):
            server.get("/")
        eventually(lambda: server.status()["requests"] == 21, "counted")
        os.kill(new[0], signal.SIGTERM)
        eventually(lambda: not alive(new[0]), "the new arbiter stopped")


class TestExpose:
    """The status on the application's own listeners."""

    def app(self, server, headers=None, path="/_raindrops"):
        return server.get(path, headers=headers)

    def test_is_off_by_default(self, serve):
        """Behind a proxy every visitor comes from 127.0.0.1."""
        with serve("--workers", "1") as server:
            server.ready(1)
            assert self.app(server) == (404, b"")

    def test_answers_local_readers_only(self, serve, gunicorn):
        """Whoever comes through a proxy goes on to the application; no status answer counts."""
        env = {"RAINDROPS_EXPOSE": "on"}
        with serve("--workers", "1", gunicorn=gunicorn, env=env) as server:
            server.ready(1)
            status, body = self.app(server)
            assert (status, body.partition(b"\n")[0]) == (200, b"calling: 0")
            status, body = self.app(server, path="/_raindrops.json?x=1")
            assert parsed(body)["requests"] == 0
            for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
                assert self.app(server, {name: "127.0.0.1"}) == (404, b"")
            assert self.app(server, path="/") == (200, b"hello\n")
            assert server.get("/_raindrops", method="POST")[0] == 405
            eventually(lambda: server.settled()["requests"] == 4, "what the application answered")

    def test_unix_peers(self, serve, tmp_path):
        """`unix` in allow admits them, nothing else does."""
        path = str(tmp_path / "app.sock")
        for allow, status in [("unix", b"200"), ("127.0.0.1,::1,0.0.0.0/0", b"404")]:
            env = {"RAINDROPS_EXPOSE": "1", "RAINDROPS_ALLOW": allow}
            with serve("--workers", "1", env=env, bind=(f"unix:{path}",)) as server:
                server.ready(1)
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)
                    client.sendall(b"GET /_raindrops HTTP/1.0\r\n\r\n")
                    assert client.recv(12)[9:] == status

    def test_proxy_protocol(self, serve):
        """A PROXY line may claim any address: it is a forwarded request."""
        env = {"RAINDROPS_EXPOSE": "1"}
        with serve("--workers", "1", "--proxy-protocol", "auto", env=env) as server:
            server.ready(1)
            with connect(server.address) as client:
                client.sendall(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")
                client.sendall(b"GET /_raindrops HTTP/1.0\r\n\r\n")
                assert client.recv(12)[9:] == b"404"


def test_token(serve):
    """Without it 401 on every URL but the page's, which asks for the token and has no figures."""
    env = {"RAINDROPS_TOKEN": "s3cret"}
    with serve("--workers", "1", env=env) as server:
        server.status_address  # noqa: B018  # waits for it
        for path in ("/_raindrops", "/_raindrops.json", "/metrics", "/nowhere"):
            status, _, headers = server.ask(path)
            assert (status, headers["WWW-Authenticate"][:6]) == (401, "Bearer")
        status, page, headers = server.ask("/")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b"127.0.0.1" not in page
        good = {"Authorization": "Bearer s3cret"}
        assert server.ask(headers=good)[0] == 200
        assert server.ask(headers={"Authorization": "Bearer other"})[0] == 401
        assert server.ask(headers={"Authorization": "Basic s3cret"})[0] == 401
        assert "s3cret" not in "\n".join(server.log)


def test_a_remote_bind_without_a_token_is_warned_about(serve):
    """Once, at the start; the status is served."""
    with serve("--workers", "1", env={"RAINDROPS_BIND": "0.0.0.0:0"}) as server:
        server.logged("status at")
        (warning,) = server.warnings()
        assert "token" in warning


def test_no_status_at_all(serve):
    """An empty bind starts no thread and opens no socket."""
    with serve("--workers", "1", env={"RAINDROPS_BIND": ""}) as server:
        eventually(lambda: server.get("/") == (200, b"hello\n"), "serving")
        assert not any("status at" in line for line in server.log)


def test_nothing_of_a_request_is_shown(serve, gate):
    """No header, cookie, query string or body of a request in flight stands in any answer."""
    with serve("--workers", "1") as server:
        server.ready(1)
        headers = "Cookie: c00kie\r\nAuthorization: Bearer t0ken\r\n"
        with gate.hold(server.address, headers=headers):
            assert server.text()["calling"] == 1
            for path in ("/_raindrops", "/_raindrops.json"):
                body = server.ask(path)[1]
                for word in (b"c00kie", b"t0ken", b"secret"):
                    assert word not in body


def test_shipped_config_module_sets_nothing_but_hooks():
    """A global named like a setting would change that setting."""
    from gunicorn.config import Config

    from gunicorn_raindrops import conf, hooks

    names = {name for name in vars(conf) if name in Config().settings}
    assert names == set(hooks.__all__)
