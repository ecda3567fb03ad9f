"""The hooks: how they get into a conf, beside a user's own, and what they make of a request.

The configs and validators are gunicorn's own; workers, requests and responses are stand-ins (the
integration tests run real servers).
"""

import errno
import functools
import logging
import os
import signal
import socket
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.config import KNOWN_SETTINGS, Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from gunicorn.workers.sync import SyncWorker

import gunicorn_raindrops
from gunicorn_raindrops import conf, hooks
from gunicorn_raindrops.counting import attached, request
from gunicorn_raindrops.hooks import replaced, state
from gunicorn_raindrops.hooks import worker as worker_hooks
from gunicorn_raindrops.scoreboard import exits
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.settings import load
from gunicorn_raindrops.status.app import StatusApp
from gunicorn_raindrops.worker_classes.threads import Sync, Threads, responding

from ..exporters.test_json import SNAPSHOT

pytestmark = pytest.mark.usefixtures("own_keywords")

SETTINGS = {setting.name for setting in KNOWN_SETTINGS}
ARITY = {
    "pre_fork": 2,
    "post_fork": 2,
    "pre_request": 2,
    "post_request": 4,
    "child_exit": 2,
    "worker_exit": 2,
    "nworkers_changed": 3,
}


@pytest.fixture
def own_keywords(monkeypatch):
    """What a test installs is forgotten after it."""
    monkeypatch.setattr(state.process, "__dict__", vars(state.Process()))
    with mock.patch.dict(state.keywords, clear=True):
        yield


def configured(namespace):
    """Return a Config of a conf file's globals, as gunicorn makes it."""
    cfg = Config()
    for name, value in namespace.items():
        if name in cfg.settings:
            cfg.set(name, value)
    return cfg


def starred(module):
    """Return what `from module import *` brings."""
    namespace = {}
    exec(f"from {module} import *", namespace)
    del namespace["__builtins__"]
    return namespace


class Calls(list):
    """User's hooks that write down their calls, and raise what they are told to."""

    def __init__(self):
        super().__init__()
        self.error = None

    def hook(self, name, arity):
        def note(*args):
            self.append((name, args))
            if self.error is not None:
                raise self.error

        scope = {"note": note}
        args = ", ".join("abcd"[:arity])
        exec(f"def {name}({args}):\n    note({args})", scope)
        return scope[name]


@pytest.fixture
def calls():
    return Calls()


class Worker(SyncWorker):
    """As much of a worker as the hooks look at."""

    def __init__(self, cfg, app=None):
        self.cfg = cfg
        self.wsgi = app
        self.alive = True
        self.age = 1
        self.ppid = 1
        self.sockets = []
        self.log = logging.getLogger("test")

    def notify(self):
        pass


def response(status="200 OK", headers_sent=True):
    return SimpleNamespace(
        status=status,
        headers_sent=headers_sent,
        req=SimpleNamespace(version=(1, 1)),
        cfg=SimpleNamespace(is_ssl=True),
    )


REQUEST = SimpleNamespace(method="GET", path="/x")


# What comes in.


def test_all_of_them_are_hooks():
    """`import *` sets gunicorn's hooks and no other of its settings, and no helper of ours."""
    assert len(set(hooks.__all__)) == len(hooks.__all__)
    for name in hooks.__all__:
        assert name in SETTINGS
        assert callable(getattr(hooks, name))
    assert set(starred("gunicorn_raindrops.hooks")) == set(hooks.__all__)
    cfg = Config()
    for name in hooks.__all__:
        assert cfg.settings[name].section == "Server Hooks"


def test_the_shipped_conf():
    """It has the same hooks and nothing else."""
    assert starred("gunicorn_raindrops.conf") == starred("gunicorn_raindrops.hooks")
    assert {name for name in vars(conf) if name in SETTINGS} == set(hooks.__all__)


@pytest.mark.parametrize("by", ["star", "install", "both", "conf"])
def test_gunicorn_takes_them(by):
    """Each way in sets each hook, by gunicorn's own validators, and nothing else."""
    namespace = {} if by in ("install", "conf") else starred("gunicorn_raindrops.hooks")
    if by == "conf":
        namespace = vars(conf)
    elif by != "star":
        hooks.install(namespace)
    cfg, default = configured(namespace), Config()
    for name, setting in cfg.settings.items():
        if name in hooks.__all__:
            assert setting.get().__module__.startswith("gunicorn_raindrops.hooks.")
        else:
            assert setting.get() == default.settings[name].get()


def test_install_is_found_on_the_package():
    """A conf that imports the package alone can call it."""
    assert gunicorn_raindrops.hooks.install is hooks.install


def test_twice_changes_nothing(calls):
    """A second call leaves hooks and settings as the first made them."""
    namespace = {"pre_request": calls.hook("pre_request", 2)}
    hooks.install(namespace, token="first")
    before = dict(namespace)
    hooks.install(namespace, token="second", bind="")
    assert namespace == before
    assert state.keywords == {"token": "first"}
    namespace["pre_request"](None, REQUEST)
    assert len(calls) == 1


def test_a_conf_that_is_run_again():
    """At a HUP the conf has new globals: they get the hooks, and the new settings count."""
    for token in ("first", "second"):
        namespace = {}
        hooks.install(namespace, token=token)
        assert set(hooks.__all__) <= set(namespace)
        assert state.keywords == {"token": token}


def test_star_then_install():
    """Ours are not wrapped around ours."""
    namespace = starred("gunicorn_raindrops.hooks")
    hooks.install(namespace, bind="")
    for name in hooks.__all__:
        assert namespace[name] is getattr(hooks, name)


def test_a_conf_on_a_conf(calls):
    """Hooks that are ours already are not wrapped again, also those that a string names. A hook
    that has the name and the attributes of one of ours, by functools.wraps, is somebody else's."""
    base = {"pre_fork": calls.hook("pre_fork", 2), "on_exit": "gunicorn_raindrops.hooks.on_exit"}
    hooks.install(base, token="base")
    assert base["on_exit"] is hooks.on_exit
    wrapped = functools.wraps(hooks.child_exit)(calls.hook("child_exit", 2))
    conf = {**base, "child_exit": wrapped}
    hooks.install(conf, token="conf")
    assert {name for name in hooks.__all__ if conf[name] is not base[name]} == {"child_exit"}
    assert conf["child_exit"] is not wrapped
    assert state.keywords == {"token": "conf"}


def by_hand(server):
    hooks.on_exit(server)


def closed_over(ours):
    return lambda server: ours(server)


class Called:
    def __call__(self, server):
        """Nobody knows what it calls."""


@pytest.mark.parametrize(
    ("hook", "is_missing"),
    [
        (hooks.on_exit, False),
        (by_hand, False),
        (closed_over(hooks.on_exit), False),
        (closed_over(print), True),
        (functools.partial(by_hand), False),
        (functools.wraps(hooks.on_exit)(closed_over(print)), False),
        (Called(), False),
        (Called().__call__, True),
        (lambda server: None, True),
    ],
)
def test_a_hook_in_place_of_ours(hook, is_missing):
    """One that calls ours is none in its place."""
    names = ("on_exit", *hooks.__all__)
    found = {name: getattr(hooks, name) for name in names} | {"on_exit": hook}
    cfg = SimpleNamespace(
        settings={name: SimpleNamespace(get=lambda hook=hook: hook) for name, hook in found.items()}
    )
    assert replaced.in_conf(cfg, has_hooks=True) == ["on_exit"] * is_missing


@pytest.mark.parametrize("name", ["when_ready", "on_reload", "pre_fork", "child_exit", "on_exit"])
def test_the_arbiters_hooks_act_in_the_arbiter_alone(monkeypatch, name):
    """A process that it has forked has a copy of what it holds, and leaves it alone."""

    class Foreign:
        pid = os.getppid()

    log, server = Log(), Worker(Config())
    server.log, server.worker_class, server.pid, server.LISTENERS = log, SyncWorker, 1, []
    server.reexec_pid = server.master_pid = 0
    monkeypatch.setattr(state.process, "arbiter", Foreign())
    getattr(hooks, name)(*[server] * ARITY.get(name, 1))
    assert log.lines == []


def test_options_are_keywords():
    """Only the globals go by position."""
    with pytest.raises(TypeError):
        hooks.install({}, "127.0.0.1:9180")


# Beside a user's own.


@pytest.mark.parametrize("name", hooks.__all__)
def test_a_users_hook_still_runs(calls, name, monkeypatch):
    """Once, with what gunicorn gave it, and so does ours: ours first, but last where it wraps the
    application, and around where it ends the request."""
    ours = []
    arity = ARITY.get(name, 1)
    monkeypatch.setattr(hooks, name, Calls.hook(ours_calls := Calls(), name, arity))

    def note(*args):
        ours.append(len(calls))

    monkeypatch.setattr(state.process, "strategy", SimpleNamespace(begin=note, end=note))
    namespace = {name: calls.hook(name, arity)}
    hooks.install(namespace)
    args = [SimpleNamespace(method="GET", path="/") for _ in range(arity)]
    configured(namespace).settings[name].get()(*args)
    assert calls == [(name, tuple(args))]
    if name == "pre_request":
        assert ours == [0]
    elif name == "post_request":
        assert ours == [1]
    else:
        assert list(ours_calls) == [(name, tuple(args))]


def test_who_comes_first(calls, monkeypatch):
    """The scoreboard is there before a user's hook runs; what a user's post_worker_init puts
    around the application is inside of what ours does."""
    for name in ("on_starting", "pre_fork", "post_worker_init"):
        arity = ARITY.get(name, 1)
        monkeypatch.setattr(hooks, name, calls.hook(f"our_{name}", arity))
        namespace = {name: calls.hook(name, arity)}
        hooks.install(namespace)
        calls.clear()
        namespace[name](*[None] * arity)
        order = [f"our_{name}", name]
        assert [one for one, _ in calls] == (order[::-1] if name == "post_worker_init" else order)


@pytest.mark.parametrize("arity", [2, 3, 4])
def test_post_request_of_each_arity(calls, arity, fork):
    """A user's may take 2, 3 or 4 arguments, as gunicorn lets it."""
    namespace = {"post_request": calls.hook("post_request", arity)}
    hooks.install(namespace)
    post_request = configured(namespace).post_request
    args = (Worker(None), REQUEST, {"a": 1}, response())
    post_request(*args)
    assert calls == [("post_request", args[:arity])]


def user_pre_request(worker, req):
    """A hook that is named in a string."""
    req.seen.append("pre")


def user_post_request(worker, req):
    """The same, with two arguments."""
    req.seen.append("post")


def user_on_exit(server):
    """The same, in the arbiter."""
    server.seen.append("exit")


def test_hooks_as_strings():
    """A hook can be a dotted name."""
    namespace = {
        "pre_request": f"{__name__}.user_pre_request",
        "post_request": f"{__name__}.user_post_request",
        "on_exit": f"{__name__}.user_on_exit",
    }
    hooks.install(namespace)
    cfg = configured(namespace)
    req = SimpleNamespace(seen=[], **vars(REQUEST))
    cfg.pre_request(Worker(cfg), req)
    cfg.post_request(Worker(cfg), req, {}, response())
    server = SimpleNamespace(seen=req.seen)
    cfg.on_exit(server)
    assert req.seen == ["pre", "post", "exit"]


def test_hooks_of_other_kinds(calls):
    """An object that can be called and a bound method are hooks as well."""

    class Hook:
        def __call__(self, worker, req):
            calls.append("object")

        def method(self, worker, req, environ, resp):
            calls.append("method")

    namespace = {"pre_request": Hook(), "post_request": Hook().method}
    hooks.install(namespace)
    cfg = configured(namespace)
    cfg.pre_request(Worker(cfg), REQUEST)
    cfg.post_request(Worker(cfg), REQUEST, {}, response())
    assert calls == ["object", "method"]


@pytest.mark.parametrize("name", hooks.__all__)
@pytest.mark.parametrize("arity", [0, 1, 2, 3, 4])
def test_a_wrong_arity_is_gunicorns_affair(calls, name, arity):
    """gunicorn refuses what it would refuse without us, and takes what it would take."""

    def takes(namespace):
        try:
            configured(namespace)
        except TypeError:
            return False
        return True

    alone = {name: calls.hook(name, arity)}
    wrapped = dict(alone)
    hooks.install(wrapped)
    assert takes(wrapped) == takes(alone)


@pytest.mark.parametrize(
    "hook", ["nothing.there", "nodots", "os.nothing_there", "os.sep", None, 5, lambda *args: None]
)
@pytest.mark.parametrize("name", ["pre_request", "post_request", "on_starting"])
def test_what_is_no_hook_is_gunicorns_affair(name, hook):
    """So is a name that leads nowhere, and what cannot be called: the same complaint."""
    with pytest.raises(TypeError) as alone:
        configured({name: hook})
    namespace = {name: hook}
    hooks.install(namespace)
    with pytest.raises(TypeError) as wrapped:
        configured(namespace)
    assert str(wrapped.value) == str(alone.value)


# Requests, in a process that has a slot.


@pytest.fixture
def counting(fork):
    """Return a function that runs a test's part in a child that has a slot; it gets `figures()`:
    calling, writing, requests, responses of 2xx, of 4xx, of 5xx, errors."""
    board = Scoreboard(1)

    def run(part):
        claim = board.claim()

        def child(link):
            def figures():
                reading = board.read()
                calling = sum(row.calling for row in reading.rows)
                writing = sum(row.writing for row in reading.rows)
                _, two, _, four, five = reading.responses
                return calling, writing, reading.requests, two, four, five, reading.errors

            assert attached.take_over(board, claim, 1, 1)
            part(figures)

        fork(child).check()

    yield run
    board.forget_file()


def handle_request(cfg, worker):
    """Handle a request as gunicorn's workers do: the hooks around the application; what the
    second hook raises is logged, what anything else raises ends the request."""
    environ = {}
    made = None
    try:
        try:
            cfg.pre_request(worker, REQUEST)
            environ, made = {"PATH_INFO": "/"}, response(None, False)
            for _ in worker.wsgi(environ, made):
                made.headers_sent = True
        finally:
            try:
                cfg.post_request(worker, REQUEST, environ, made)
            except Exception:
                worker.log.info("Exception in post_request hook")
    except BaseException as error:
        return error
    return None


def installed(application, namespace=None, **attributes):
    """Return a Config with our hooks around those of `namespace`, and a worker."""
    namespace = namespace if namespace is not None else {}
    hooks.install(namespace)
    cfg = configured(namespace)
    worker = Worker(cfg, responding(application))
    vars(worker).update(attributes)
    return cfg, worker


def ok(environ, resp):
    resp.status = "200 OK"
    return [b"x"]


def test_phases(counting):
    """Calling until the application has returned, writing until the response is sent."""

    def part(figures):
        seen = []

        def application(environ, resp):
            seen.append(figures()[:3])

            def chunks():
                seen.append(figures()[:3])
                yield b"x"

            resp.status = "200 OK"
            return chunks()

        cfg, worker = installed(application)
        assert handle_request(cfg, worker) is None
        assert seen == [(1, 0, 0), (0, 1, 0)]
        assert figures() == (0, 0, 1, 1, 0, 0, 0)

    counting(part)


def test_the_iterable_is_untouched():
    """What the application returned is what gunicorn gets: file wrappers still work."""
    iterable = object()
    assert responding(lambda environ, start: iterable)({}, None) is iterable


RAISING = [ValueError("no"), OSError(errno.EIO, "no"), SystemExit(1), KeyboardInterrupt()]


@pytest.mark.parametrize("error", RAISING, ids=repr)
@pytest.mark.parametrize(
    "where", ["pre_request", "post_request", "application", "iterable", "both"]
)
def test_whatever_raises_the_pair_is_balanced(counting, calls, where, error):
    """A request that has begun is ended, once, whoever raises what: none is left in flight."""

    def part(figures):
        def raising(environ, resp):
            if where == "application":
                raise error

            def chunks():
                if where == "iterable":
                    raise error
                yield b"x"

            resp.status = "200 OK"
            return chunks()

        namespace = {}
        if where in ("pre_request", "both"):
            namespace["pre_request"] = calls.hook("pre_request", 2)
        if where in ("post_request", "both"):
            namespace["post_request"] = calls.hook("post_request", 3)
        calls.error = error
        cfg, worker = installed(raising, namespace)
        handle_request(cfg, worker)
        # gunicorn answers no OSError
        failed = (0, 0, 1, 0, 0, 0 if isinstance(error, OSError) else 1, 1)
        expected = {
            "pre_request": (0, 0, 0, 0, 0, 0, 0),  # it never came to the application
            "both": (0, 0, 0, 0, 0, 0, 0),
            "post_request": (0, 0, 1, 1, 0, 0, 0),
            "application": failed,
            "iterable": failed,
        }[where]
        assert figures() == expected
        calls.error = None
        worker.wsgi = responding(ok)
        handle_request(cfg, worker)
        assert figures()[:3] == (0, 0, expected[2] + 1)

    counting(part)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, "ssl"])
def test_a_client_that_went_away(counting, number):
    """Its request is counted as it was answered, and is no error of the application's."""
    error = ssl.SSLError("gone") if number == "ssl" else OSError(number, "gone")

    def part(figures):
        def application(environ, resp):
            resp.status = "200 OK"

            def chunks():
                yield b"x"
                raise error

            return chunks()

        cfg, worker = installed(application)
        assert handle_request(cfg, worker) is error
        assert figures() == (0, 0, 1, 1, 0, 0, 0)

    counting(part)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", (1, 1, 0, 0)),
        ("404 Not Found", (1, 0, 1, 0)),
        ("503 Service Unavailable", (1, 0, 0, 1)),
        ("500", (1, 0, 0, 1)),
        ("999 Odd", (1, 0, 0, 0)),
        ("abc", (1, 0, 0, 0)),
        (" 200 OK", (1, 0, 0, 0)),
        (None, (1, 0, 0, 0)),
        ("", None),
        (b"200 OK", None),
        (200, None),
        (("200", "OK"), None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("alive", [True, False])
def test_statuses(counting, status, expected, alive):
    """A request is ended and counted whatever its status is, in its class if it has one; also the
    last one of a worker that is to stop."""

    def part(figures):
        cfg, worker = installed(ok, alive=alive)
        worker.wsgi = responding(lambda environ, resp: setattr(resp, "status", status) or [b""])
        assert handle_request(cfg, worker) is None
        calling, writing, requests, *responses, errors = figures()
        assert (calling, writing, requests, errors) == (0, 0, 1, 0)
        assert expected is None or (requests, *responses) == expected

    counting(part)


def test_no_response_at_all(counting):
    """post_request without a response means that the application was never called: not counted."""

    def part(figures):
        cfg, worker = installed(ok)
        cfg.pre_request(worker, REQUEST)
        assert figures()[0] == 1
        cfg.post_request(worker, REQUEST, {}, None)
        assert figures() == (0, 0, 0, 0, 0, 0, 0)
        cfg.post_request(worker, REQUEST, {}, response())
        cfg.post_request(worker, REQUEST, {}, None)
        assert figures() == (0, 0, 0, 0, 0, 0, 0)

    counting(part)


def test_the_debug_line(caplog):
    """gunicorn's own pre_request hook, which ours replaces, logs each request; so does ours, where
    the level is on."""
    worker = Worker(None)
    with caplog.at_level(logging.DEBUG, "test"):
        hooks.pre_request(worker, REQUEST)
        request.cancel()
    assert [record.getMessage() for record in caplog.records] == ["GET /x"]
    assert caplog.records[0].levelno == logging.DEBUG


@pytest.mark.parametrize("users", [False, True], ids=["alone", "beside a user's"])
@pytest.mark.parametrize("strategy", [Sync, Threads])
def test_the_request_path_is_short(monkeypatch, strategy, users):
    """A hook and the strategy's method: two Python frames of ours each, the rest is native. What
    a frame costs, each request would pay twice."""
    monkeypatch.setattr(state.process, "strategy", strategy())
    monkeypatch.setattr(state.process, "debugging", False)
    namespace = {}
    if users:
        namespace = {"pre_request": lambda worker, req: None}
        namespace["post_request"] = lambda worker, req, environ, resp: None
    hooks.install(namespace)
    cfg = configured(namespace)
    worker, frames, folder = Worker(cfg), [], Path(gunicorn_raindrops.__file__).parent

    def note(frame, event, arg):
        if event == "call" and Path(frame.f_code.co_filename).is_relative_to(folder):
            frames.append(frame.f_code.co_name)

    here, there = socket.socketpair()
    with here, there:
        req = SimpleNamespace(
            method="GET", path="/", req_number=1, unreader=SimpleNamespace(sock=here)
        )
        post = cfg.post_request
        for hook, args in ((cfg.pre_request, (worker, req)), (post, (worker, req, {}, response()))):
            frames.clear()
            sys.setprofile(note)
            try:
                hook(*args)
            finally:
                sys.setprofile(None)
            # before 3.11 Python has no sys.exception, and ours is a frame more
            assert len([name for name in frames if name != "_error"]) == 2, frames


# The status on the application's own listeners.


class Exposed:
    """A worker whose application is wrapped as post_worker_init does it, with `expose` on."""

    def __init__(self, monkeypatch, cfg=None, **keywords):
        self.reached = []
        settings = load({"expose": True, **keywords}, {})
        app = StatusApp(settings, lambda: SNAPSHOT, print)
        mine = SimpleNamespace(
            settings=settings, started=0.0, heartbeat=None, serve=lambda *args: app
        )
        monkeypatch.setattr(state.process, "worker", mine)
        self.worker = Worker(cfg or Config(), self.application)
        hooks.post_worker_init(self.worker)

    def application(self, environ, start_response):
        self.reached.append(environ)
        start_response("200 OK", [])
        return [b"the application's"]

    def get(self, environ):
        started = []
        body = b"".join(self.worker.wsgi(environ, lambda *args: started.append(args)))
        ((status, headers),) = started
        return status, dict(headers), body


def environ(**more):
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/_raindrops",
        "REMOTE_ADDR": "127.0.0.1",
        **more,
    }


def test_exposed(monkeypatch):
    """Whoever is admitted gets the status, HEAD its headers; everything else is the
    application's."""
    exposed = Exposed(monkeypatch)
    status, headers, body = exposed.get(environ())
    assert (status, headers["Content-Length"]) == ("200 OK", str(len(body)))
    assert body.startswith(b"calling: ")
    status, headers, nothing = exposed.get(environ(REQUEST_METHOD="HEAD"))
    assert (status, headers["Content-Length"], nothing) == ("200 OK", str(len(body)), b"")
    assert exposed.get(environ(REQUEST_METHOD="POST"))[0] == "405 Method Not Allowed"
    assert exposed.reached == []
    for other in (
        environ(PATH_INFO="/"),
        environ(REMOTE_ADDR="10.0.0.1"),
        environ(REMOTE_ADDR=""),
        environ(HTTP_X_FORWARDED_FOR="127.0.0.1"),
        environ(PROXY_PROTOCOL="TCP4"),
    ):
        assert exposed.get(other)[2] == b"the application's"
    assert len(exposed.reached) == 5


def test_exposed_is_off_by_default(monkeypatch):
    """The application's listeners do not answer the path then."""
    exposed = Exposed(monkeypatch, expose=False)
    assert exposed.get(environ())[2] == b"the application's"


def test_exposed_requests_do_not_count(counting, monkeypatch):
    """They are none of the application's."""

    def part(figures):
        exposed = Exposed(monkeypatch)
        hooks.pre_request(exposed.worker, REQUEST)
        exposed.get(environ())
        assert figures() == (0, 0, 0, 0, 0, 0, 0)
        hooks.post_request(exposed.worker, REQUEST, environ(), response())
        assert figures() == (0, 0, 0, 0, 0, 0, 0)

    counting(part)


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


# The start.


@pytest.mark.parametrize(
    ("keywords", "variables", "named"),
    [
        ({"bind": "nowhere"}, {}, "bind"),
        ({}, {"RAINDROPS_BIND": "nowhere"}, "RAINDROPS_BIND"),
        ({"max_workers": 0}, {}, "max_workers"),
        ({"bnid": ""}, {}, "bnid"),
        ({"token": "two words"}, {}, "token"),
    ],
)
def test_a_bad_setting_stops_the_start(monkeypatch, keywords, variables, named):
    """With one line that names it; install() itself does not raise, gunicorn would show its
    traceback. The pid file does not stay behind."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    namespace = {}
    hooks.install(namespace, **keywords)
    removed = []
    pidfile = SimpleNamespace(unlink=lambda: removed.append(True))
    with pytest.raises(RuntimeError, match=named) as caught:
        namespace["on_starting"](SimpleNamespace(pidfile=pidfile, log=logging.getLogger("test")))
    assert len(str(caught.value).splitlines()) == 1
    assert "two words" not in str(caught.value)
    assert removed == [True]


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, form, *args):
        self.lines.append(form % args)

    debug = info = lambda self, *args: None


@pytest.mark.parametrize(
    "name", ["when_ready", "pre_fork", "post_fork", "post_worker_init", "pre_exec"]
)
def test_a_failure_is_one_warning(monkeypatch, name):
    """Whatever fails in a hook, gunicorn goes on; it is told once."""

    class Broken:
        def __getattr__(self, attribute):
            raise LookupError("broken")

    log = Log()
    monkeypatch.setattr(state.process, "worker", Broken())
    server = Worker(Config())
    server.log, server.worker_class, server.pid, server.LISTENERS = log, SyncWorker, 1, []
    for _ in range(3):
        monkeypatch.setattr(state.process, "arbiter", Broken())
        getattr(hooks, name)(*[server] * ARITY.get(name, 1))
    assert len(log.lines) == 1
    assert "broken" in log.lines[0]


def test_child_exit_neither_raises_nor_logs(monkeypatch):
    """It may run in a signal handler, and its exception would end the arbiter; what fails is told
    later."""
    later = []

    def release(worker, end, pid_of):
        raise LookupError("broken")

    arbiter = SimpleNamespace(pid=os.getpid(), release=release, later=later.append)
    monkeypatch.setattr(state.process, "arbiter", arbiter)
    hooks.child_exit(SimpleNamespace(log=None), SimpleNamespace(pid=1, aborted=False))
    assert len(later) == 1
    assert "broken" in later[0]


def test_before_the_start():
    """Without on_starting (a worker's view of hooks that came with a HUP) nothing is done, and
    nothing raised."""
    log = Log()
    server = Worker(Config())
    server.log, server.worker_class, server.pid, server.LISTENERS = log, SyncWorker, 1, []
    server.reexec_pid = server.master_pid = 0
    for name in (
        "post_fork",
        "post_worker_init",
        "pre_exec",
        "on_exit",
        "child_exit",
    ):
        getattr(hooks, name)(*[server] * ARITY.get(name, 1))
    assert log.lines == []


def test_finishing(counting):
    """A worker that is told to stop shows it, and does then what it would have done."""

    def part(figures):
        told = []
        worker = Worker(Config())
        worker.handle_exit = lambda sig, frame: told.append(sig)
        taken = []
        mine = SimpleNamespace(take_over=lambda *args: taken.append(args) or True)
        state.process.arbiter = SimpleNamespace(worker_side={worker: mine}.get)
        hooks.post_fork(None, worker)
        assert taken == [(1, 1)]
        assert (state.process.arbiter, state.process.worker) == (None, mine)
        worker.handle_exit(signal.SIGTERM, None)
        assert told == [signal.SIGTERM]

    counting(part)


# Why a worker ends.


def ending(nr=0, booted=True):
    return SimpleNamespace(nr=nr, max_requests=3, booted=booted)


@pytest.mark.parametrize(
    ("worker", "error", "cause"),
    [
        (ending(), None, exits.GRACEFUL),
        (ending(), SystemExit(), exits.GRACEFUL),
        (ending(), SystemExit(0), exits.GRACEFUL),
        (ending(nr=2), SystemExit(0), exits.GRACEFUL),
        (ending(nr=3), SystemExit(0), exits.MAX_REQUESTS),
        (ending(nr=3), SystemExit(1), exits.FAILED),
        (ending(), SystemExit(-1), exits.FAILED),
        (ending(), SystemExit("so"), exits.FAILED),
        (ending(), KeyboardInterrupt(), exits.FAILED),
        (ending(booted=False), SystemExit(-1), exits.BOOT_FAILURE),
        (ending(booted=False), SystemExit(0), exits.GRACEFUL),
        (ending(), SystemExit(Arbiter.WORKER_BOOT_ERROR), exits.BOOT_FAILURE),
        (ending(), SystemExit(Arbiter.APP_LOAD_ERROR), exits.BOOT_FAILURE),
    ],
)
def test_what_a_worker_says_of_its_end(worker, error, cause):
    """By how its process is about to exit. The asgi workers boot on when they say they have, and
    then exit as one that has not."""
    assert worker_hooks._cause(worker, error) == cause


def test_an_aborted_worker_leaves_it_to_the_arbiter(monkeypatch):
    """Only the arbiter knows whether the SIGABRT was its own."""
    monkeypatch.setattr(state.process, "aborted", True)
    assert worker_hooks._cause(ending(), SystemExit(1)) is None
