"""The Watcher beside Ruby's on the same listeners, and on real gunicorns."""

import contextlib
import html
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import quote, unquote

import pytest

from gunicorn_raindrops import Watcher
from gunicorn_raindrops.watcher import sampling

from ..bounds import LONG, WAIT
from ..listeners.listening import Lab, address, port, settled
from .classes import among
from .servers import APPS, eventually

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="sock_diag is Linux's"),
]

START = 1_800_000_000
"""Unix seconds, when both Watchers begin."""
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def need_ruby():
    """Skip where Ruby's Watcher cannot run."""
    check = ["ruby", "-e", 'require "raindrops"; require "rack"; require "raindrops/watcher"']
    if shutil.which("ruby") is None:
        pytest.skip("needs ruby, and the packages ruby-raindrops, ruby-rack and ruby-aggregate")
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"needs ruby-raindrops, ruby-rack and ruby-aggregate: {done.stderr[:200]}")


def environ(path, method="GET", **more):
    """Return a request as Rack has it, its path as it came."""
    request = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": ""}
    return {**request, "HTTP_HOST": "localhost:80", **more}


class Ruby:
    """Ruby's Watcher in a process of its own, with its first sample."""

    def __init__(self, listeners):
        self._listeners = listeners

    def __enter__(self):
        self.process = subprocess.Popen(
            ["ruby", "-Ku", str(APPS / "watcher.rb"), json.dumps(self._listeners), str(START)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._alarm = threading.Timer(LONG, self.process.kill)  # no answer, then, but an error
        self._alarm.start()
        try:
            self.do("begin")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(WAIT)
        self.process.stdout.close()
        self._alarm.cancel()

    def do(self, command, env=None):
        """Give a command and return its result."""
        print(json.dumps([command, env]), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())[0]

    def sample(self, at):
        """Take a sample at an instant."""
        self.do("time", at)
        self.do("sample")

    call = lambda self, env: self.do("call", env)  # noqa: E731

    def reset(self, env, at):
        """Reset at an instant, and take the sample that it waits for."""
        self.do("time", at)
        return self.do("reset", env)

    lines = lambda self: self.do("lines")  # noqa: E731


class Ours:
    """Our Watcher, in this process."""

    def __init__(self, listeners, clock):
        self._clock = clock
        self.app = Watcher(listeners, delay=3600)
        self._lines = []

    def __enter__(self):
        self.sampler = self.app._sampler()
        return self

    def __exit__(self, *_):
        self.app.close()

    def sample(self, at):
        """Take a sample at an instant."""
        self._clock.now = at
        self.sampler.sample()

    def call(self, env):
        """Return status, headers and body."""
        started = []
        path = unquote(env["PATH_INFO"], "latin-1")
        body = self.app({**env, "PATH_INFO": path}, lambda *args: started.extend(args))
        text = "" if "/tail/" in path else b"".join(body).decode()
        return int(started[0][:3]), dict(started[1]), text

    def reset(self, env, at):
        """Reset at an instant, and take the sample that it waits for."""
        self._clock.now = at
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.call(env)))
        self._waits_in(thread)
        self.sample(at)
        thread.join(WAIT)
        return answers[0]

    def tail(self, env):
        """Follow a tail."""
        path = unquote(env["PATH_INFO"], "latin-1")
        body = self.app({**env, "PATH_INFO": path}, lambda *_: None)
        self._thread = threading.Thread(target=lambda: self._lines.extend(filter(None, body)))
        self._waits_in(self._thread)

    def _waits_in(self, thread):
        """Start a thread and see that it waits for a sample."""
        waiters = self.sampler._turned._waiters
        before = len(waiters)
        thread.start()
        eventually(lambda: len(waiters) > before, "it waits")

    def lines(self):
        """Return the lines of the tail, which is ended by that."""
        self.app.close()
        self._thread.join(WAIT)
        return [line.decode() for line in self._lines]


def same_headers(ours, theirs, but=()):
    """Check that each header of theirs is one of ours, with the same value."""
    assert {**theirs, **ours, **dict.fromkeys(but)} == {**ours, **theirs, **dict.fromkeys(but)}


def same_answers(ours, ruby, names):
    """Check all pages of all listeners, and the index."""
    for name in (*names, "127.0.0.1:1"):
        for kind in ("active", "queued"):
            for form in ("txt", "html"):
                env = environ(f"/{kind}/{quote(name, safe='')}.{form}")
                status, headers, body = ours.call(env)
                theirs = ruby.call(env)
                assert status == theirs[0]
                same_headers(headers, theirs[1], but=() if form == "txt" else {"Content-Length"})
                assert form == "html" or body == theirs[2]
    index = [one.call(environ("/")) for one in (ours, ruby)]
    assert index[0][0] == index[1][0]
    same_headers(index[0][1], index[1][1], but={"Content-Length"})
    assert cells(index[0][2]) == cells(index[1][2])


def cells(page):
    """Return the links and texts of an index, in order, without what decorates them."""
    found = re.findall(r"<a href='((?:tail|active|queued)/[^']*)'[^>]*>([^<]*)", page)
    return [(link.replace("+", "%20"), html.unescape(text)) for link, text in found]


class Crowd:
    """Listeners of each kind, and the steps of their clients."""

    def __init__(self, lab, folder):
        self._lab = lab
        self._listeners = {}
        for host in ("127.0.0.1", "::1"):
            listener = lab.listen(host)
            self._listeners[address(listener)] = (listener, (host, port(listener)))
        path = (
            f"{folder}/a b%2F<i>&'.sock"  # the original takes no abstract and finds no UTF-8 name
        )
        listener = lab.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(20)
        self._listeners[path] = (listener, path)
        self.names = list(self._listeners)
        self._accepted = []

    def step(self, turn):
        """Change what there is: more or fewer of either kind, on each listener other ones."""
        for i, (listener, target) in enumerate(self._listeners.values()):
            for j in range((turn + i) % 3):
                client = self._lab.enter_context(socket.socket(listener.family))
                client.settimeout(WAIT)
                client.connect(target)
                if (turn + j) % 2:
                    self._accepted.append((client, self._lab.accept(listener)))
        if turn == 5:
            while self._accepted:
                for end in self._accepted.pop():
                    end.close()


class Clock:
    """What time it is for our sampler."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self):
        self.now = START

    def time(self):
        """Return it."""
        return self.now


@contextlib.contextmanager
def side_by_side(listeners, monkeypatch):
    """Both Watchers, each with its first sample."""
    monkeypatch.setattr(sampling, "time", clock := Clock())
    with Ruby(listeners) as ruby, Ours(listeners, clock) as ours:
        yield ours, ruby


def test_beside_ruby_s(tmp_path, monkeypatch):
    """On the same listeners: routes, statuses, headers, numbers of the same second and the tail,
    line by line."""
    need_ruby()
    with Lab() as lab:
        crowd = Crowd(lab, tmp_path)
        first, *_ = crowd.names
        query = "active_min=1&queued_min=1"
        with side_by_side(crowd.names, monkeypatch) as (ours, ruby):
            tail = environ(f"/tail/{quote(first, safe='')}.txt", QUERY_STRING=query)
            ours.tail(tail)
            ruby.do("tail", tail)
            for turn in range(8):
                crowd.step(turn)
                kernel_is_quiet(crowd.names)
                for one in (ours, ruby):
                    one.sample(START + 60 * (turn + 1))
                if turn % 3 == 0:
                    same_answers(ours, ruby, crowd.names)
            both_reset(ours, ruby, first, START + 3000)
            same_answers(ours, ruby, crowd.names)
            both_answer(ours, ruby, first)
            lines = [one.lines() for one in (ours, ruby)]
            assert len(lines[0]) >= 3
            assert lines[0] == lines[1]


def kernel_is_quiet(names):
    """Wait until two readings agree: a handshake ends after connect() has returned."""
    reading = Watcher(names)._read

    def twice():
        return reading() == reading()

    assert settled(twice, True)


def both_reset(ours, ruby, name, at):
    """Reset a listener at both, alike but for where that leads."""
    env = environ(f"/reset/{quote(name, safe='')}", "POST", HTTP_REFERER="http://evil.example/x")
    status, headers, _ = ours.reset(env, at)
    theirs = ruby.reset(env, at)
    assert status == theirs[0] == 302
    assert headers["Content-Type"] == theirs[1]["Content-Type"]
    assert (headers["Location"], theirs[1]["Location"]) == ("/", "http://evil.example/x")


def both_answer(ours, ruby, name):
    """Check what is left: tails' heads, HEAD, and what there is not."""
    name = quote(name, safe="")
    for method, path in [
        ("GET", f"/tail/{name}.txt"),
        ("HEAD", f"/tail/{name}.txt"),
        ("HEAD", f"/active/{name}.txt"),
        ("HEAD", "/"),
        *[("GET", path) for path in ("", "/nope", "/active/.txt", f"/reset/{name}")],
        *[("POST", path) for path in ("/", "/reset/", "/reset/nobody", f"/active/{name}.txt")],
        ("HEAD", "/nope"),
        ("PUT", "/"),
        ("DELETE", "/nope"),
        ("OPTIONS", f"/active/{name}.txt"),
    ]:
        status, headers, body = ours.call(environ(path, method))
        theirs = ruby.call(environ(path, method))
        assert (method, path, status) == (method, path, theirs[0])
        same_headers(headers, theirs[1], but={"Content-Length"} if path == "/" else ())
        assert (body == "") == (theirs[2] == ""), path


def ask(server, path, method="GET", **headers):
    """Return status, headers and body."""
    connection = http.client.HTTPConnection(*server.address, timeout=WAIT)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


@among("gthread", "gevent")
def test_on_gunicorn(serve, gunicorn, kind):
    """A tail streams while the same worker, forked after the application was loaded, answers and
    resets. An idle tail ends with its client, and the worker stops in time."""
    kind.available(gunicorn)
    args = ("--workers", "1", "--preload", *kind.args, "--threads", "4")
    with serve(*args, gunicorn=gunicorn, app="watcher_app:app") as server:
        server.ready(1)
        name = quote(server.name, safe="")
        with http_stream(server, f"/tail/{name}.txt?active_min=1") as lines:
            assert re.fullmatch(STAMP.pattern + rf" {server.name} +\d+ +\d+\n", next(lines))
            status, headers, _ = ask(server, f"/reset/{name}", "POST", **evil("cross-site"))
            assert status == 403
            status, headers, _ = ask(server, f"/reset/{name}", "POST")
            assert (status, headers["Location"]) == (302, "/")
            assert int(ask(server, f"/active/{name}.txt")[1]["X-Count"]) < 10
            next(lines)
        with http_stream(server, "/tail/nobody.txt"):
            in_flight = lambda: server.status()["calling"] + server.status()["writing"]  # noqa: E731
            eventually(lambda: in_flight() == 1, "the idle tail")
        eventually(lambda: in_flight() == 0, "its end")


def evil(site):
    return {"Sec-Fetch-Site": site}


@contextlib.contextmanager
def http_stream(server, path):
    """Lines of a response, as they come."""
    connection = http.client.HTTPConnection(*server.address, timeout=WAIT)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        with response:
            yield iter(lambda: response.readline().decode(), "")
