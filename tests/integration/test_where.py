"""What slow requests are doing: in the status, after a SIGKILL, after a timeout, and in the log."""

import contextlib
import json
import os
import re
import signal
import time

import pytest

from .classes import has
from .servers import BROKEN, connect, eventually

SOON = 2.5
"""Seconds within which the status says where a request stands."""

INNERMOST = r"/stuck\.py:\d+ in innermost"
AWAITED = r"/stuck\.py:\d+ in awaited"
BLOCKING = INNERMOST + r" \(blocks the event loop\)"

# of each: a worker class, what it needs, an application, a path, and what is to be told of it
SLOW = {
    "sync": ("sync", None, "stuck:app", "/sleep", INNERMOST),
    "gthread": ("gthread", None, "stuck:app", "/sleep", INNERMOST),
    "gevent": ("gevent", "gevent", "stuck:app", "/sleep", INNERMOST),
    "gevent_pywsgi": ("gevent_pywsgi", "gevent", "stuck:app", "/sleep", INNERMOST),
    "tornado": ("tornado", "tornado", "stuck:app", "/sleep", INNERMOST),
    "tornado's own": ("tornado", "tornado", "stuck_tornado:app", "/sleep", AWAITED),
    "tornado's own, blocked": ("tornado", "tornado", "stuck_tornado:app", "/block", BLOCKING),
    "asgi": ("asgi", None, "stuck:asgi", "/sleep", AWAITED),
    "asgi, blocked": ("asgi", None, "stuck:asgi", "/block", BLOCKING),
    "asgi, in a generator": ("asgi", None, "stuck:asgi", "/generate", AWAITED),
    "asgi, in a pool": ("asgi", None, "stuck:asgi", "/executor", INNERMOST),
    "uvicorn": ("uvicorn_worker.UvicornWorker", "uvicorn_worker", "stuck:asgi", "/sleep", AWAITED),
    **{
        f"fastapi, {path}, {name}": ("asgi", "fastapi", f"stuck_fastapi:{name}", path, expected)
        for name in ("app", "behind")
        for path, expected in (("/async", AWAITED), ("/def", INNERMOST))
    },
}


def begun(server, path, s=60):
    """Begin a request that nobody waits for."""
    client = connect(server.address)
    query = f"s={s}&secret=planted-in-a-query"
    client.sendall(f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def seen(server):
    """Return the request that the status shows and says something of."""
    shown = [one["current"] for one in server.told().get("workers", ()) if one["current"]]
    return next((one for one in shown if one["where"]), None)


@pytest.mark.parametrize("case", SLOW)
def test_where(serve, case):
    """The application's innermost line, while the request runs, and after a SIGKILL."""
    kind, needs, app, path, expected = SLOW[case]
    if needs is not None and not has("current", needs):
        pytest.skip(f"no {needs}")
    with serve("--worker-class", kind, app=app) as server:
        pid = server.ready(1)["workers"][0]["pid"]
        with begun(server, path):
            found = eventually(lambda: seen(server), "where the request stands")
            assert re.search(f"{expected}$", found["where"])
            os.kill(pid, signal.SIGKILL)
            heals = server.heals(pid, lambda status: status["killed"], "it was killed")
        killed = heals["killed"][0]
        assert re.search(f"{expected}$", killed["where"])
        assert killed["current"]["where"] == killed["where"]
        server.logged(rf"was killed in 'GET {path}', \d.* s after its begin, at /.*{expected}")
        assert "planted" not in json.dumps(heals) + "\n".join(server.log)


def test_whose_loop_is_blocked(serve):
    """A request that waits for the loop is told apart from the one that blocks it."""
    with serve("--worker-class", "asgi", app="stuck:asgi") as server:
        server.ready(1)
        with begun(server, "/sleep"):
            eventually(lambda: seen(server), "where it stands")
            with begun(server, "/block"):
                found = eventually(
                    lambda: (one := seen(server)) and "blocked" in one["where"] and one, "blocked"
                )
                assert found["path"] == "/sleep"
                assert re.search(rf"{AWAITED} \(event loop blocked\)$", found["where"])
            server.kill()
        server.process.wait()


def test_nothing_to_look_at(serve):
    """A request under a second has no line, nor has one that is not shown."""
    with serve(app="stuck:app", env={"RAINDROPS_CURRENT": "off"}) as server:
        server.ready(1)
        with begun(server, "/sleep"):
            eventually(lambda: server.told().get("calling"), "a request")
            began = time.monotonic()
            while time.monotonic() < began + SOON:
                assert server.status()["workers"][0]["current"] is None
            server.kill()
        server.process.wait()


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_the_stack_at_a_timeout(serve, gunicorn, kind):
    """In the log, once, as one record: also where the thread sits in C, and no handler runs."""
    if kind == "gevent" and not has(gunicorn, "gevent"):
        pytest.skip("no gevent")
    path = "/stick" if kind == "gthread" else "/c"
    with serve(
        *("--worker-class", kind, "--threads", "2" if kind == "gthread" else "1", "--timeout", "3"),
        app="stuck:app",
        gunicorn=gunicorn,
        tracebacks=None,  # gunicorn logs the exit by which the worker ends
    ) as server:
        server.ready(1)
        with begun(server, path):
            server.logged(rf"killed by the timeout in 'GET {path}', .* s after its begin, at ", 60)
            server.logged(r'^  File "/.*/stuck\.py", line \d+, in in_c')
        at = next(i for i, line in enumerate(server.log) if "killed by the timeout" in line)
        assert re.match(rf"'GET {path}', \d+\.\d s after its begin:$", server.log[at + 1])
        assert re.match(r'  File "/.*/stuck\.py", line \d+, in app$', server.log[at + 2])
        assert sum("killed by the timeout" in line for line in server.log) == 1
        # gunicorn's own log of the exit that ends the worker may have them as well
        assert sum("in in_c" in line for line in server.log[at + 2 :]) == 1


def test_the_stack_from_the_handler(serve):
    """A timeout before the first look is told of by the signal's handler."""
    with serve("--timeout", "1", app="stuck:app", tracebacks=None) as server:
        server.ready(1)
        with begun(server, "/sleep"), contextlib.suppress(*BROKEN):
            eventually(lambda: sum("Booting" in line for line in server.log) == 2, "another worker")
        at = next(i for i, line in enumerate(server.log) if "killed by the timeout" in line)
        assert "in innermost" in server.log[at]
        assert [line.rpartition(" ")[2] for line in server.log[at + 2 : at + 5]] == [
            *("app", "outer", "innermost")
        ]
        assert not server.log[at + 5].startswith("  ")


@pytest.mark.parametrize("kind", ["gthread", "gevent", "asgi"])
def test_slow_requests_are_logged_once(serve, background, kind):
    """Each, with its line and its stack; none of the others."""
    if kind == "gevent" and not has("current", "gevent"):
        pytest.skip("no gevent")
    app = "stuck:asgi" if kind == "asgi" else "stuck:app"
    args = ("--worker-class", kind, "--threads", "8" if kind == "gthread" else "1")
    with serve(*args, app=app, env={"RAINDROPS_SLOW": "1"}) as server:
        server.ready(1)
        for i in range(40):
            background.add(server.get, f"/sleep?s={3 if i % 5 == 0 else 0.1}")
        assert [code for code, _ in background.join()] == [200] * 40
        eventually(lambda: len(slow(server)) == 8, lambda: server.log)
    assert len(slow(server)) == 8
    inner = "awaited" if kind == "asgi" else "innermost"
    assert sum(f"in {inner}" in line for line in server.log) >= 1


def slow(server):
    return [line for line in server.log if "slow request 'GET /sleep'" in line]
