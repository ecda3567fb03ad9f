"""The live page in a real Chromium, on real servers."""

import contextlib
import http.client
import json
import signal
import threading
import time

import pytest

from ..ports import free_address
from ..schema import parsed
from .browser import Browser
from .servers import ROOT, eventually

pytestmark = pytest.mark.once

AXE = ROOT / "node_modules/axe-core/axe.min.js"
EXAMPLES = str(ROOT / "examples")
HOSTILE = "<img src=x onerror=\"document.title='hurt'\">'\"&lt;\x1b[31m\u202e\ud800\0" + "x" * 8192

ON_SCREEN = """(() => {
  const text = (node) => node.textContent.replaceAll("\\u00a0", " ");
  const rows = (id) => [...document.getElementById(id).children]
    .map((row) => [...row.children].map(text));
  return {
    time: Number(document.getElementById("main").dataset.time),
    gauges: Object.fromEntries([...document.querySelectorAll(".now")]
      .map((node) => [node.id.slice(4), text(node)])),
    workers: [...document.getElementById("workers").children].map((node) => ({
      slot: text(node.querySelector(".slot")), state: node.dataset.state,
      request: text(node.querySelector(".request")), costs: text(node.querySelector(".costs")),
      where: text(node.querySelector(".where")),
    })),
    listeners: rows("listeners"),
    times: rows("times").map((row) => row[5]),
    totals: Object.fromEntries(rows("totals")),
    exits: Object.fromEntries(rows("exits")),
    killed: rows("killed").map((row) => row.slice(1, 6)),
  };
})()"""


def expected(status):
    """Return what is to be on screen for a status."""
    queued = sum(one["queued"] for one in status["listeners"])
    names = ("calling", "writing", "reading", "waiting")
    shown = {name: str(status[name]) for name in names} | {"queued": str(queued)}
    times = (status["request_seconds"], status["queue_seconds"])
    return {
        "time": status["time"],
        "gauges": shown | {"saturation": percent(status["saturation"])},
        "workers": [worker(one) for one in status["workers"]],
        "listeners": [
            [one["address"], f"{one['queued']} of {one['backlog']}"]
            + [str(one[name]) for name in ("active", "waiting", "dropped")]
            for one in status["listeners"]
        ],
        "times": [str(one["count"]) for one in times],
        "exits": {cause: str(n) for cause, n in status["exits"].items() if n},
    }


def percent(ratio):
    """Return a ratio as JavaScript rounds it."""
    return f"{int(100 * ratio + 0.5)} %"


def worker(one):
    """Return what is to be on screen for a worker."""
    flying, current = one["calling"] + one["writing"], one["current"]
    request = f"{current['method']} {current['path']}" if current else ""
    where = current and current["where"]
    return {
        "where": f"at {where}" if where else "",
        "slot": f"slot {one['slot']}",
        "state": one["state"],
        "request": request + (f" and {flying - 1} more" if flying > 1 else ""),
        "pid": f"pid {one['pid']}",
        "requests": f"{one['requests']} requests",
    }


def answers(browser, answered):
    """Add the statuses that the browser has got, by their time."""
    for event in browser.told("Network.loadingFinished"):
        key = event["requestId"]
        if key not in answered:
            answered[key] = {}
            with contextlib.suppress(AssertionError, ValueError):  # it is gone, or no JSON
                body = browser.call("Network.getResponseBody", requestId=key)["body"]
                answered[key] = json.loads(body)
    return {one["time"]: one for one in answered.values() if "time" in one}


def is_as_told(browser, answered):
    """Hold what is on screen against the JSON of the same moment; returns that moment."""
    shown = browser.run(ON_SCREEN)
    status = answers(browser, answered).get(shown["time"])
    if status is None:
        return None
    for one in shown["workers"]:
        one["pid"], one["requests"], *_ = one.pop("costs").split(" · ")
    killed = [(one["cause"], str(one["slot"]), str(one["pid"])) for one in status["killed"]]
    assert [tuple(row[:3]) for row in shown.pop("killed")] == killed
    totals = shown.pop("totals")
    assert totals["requests"] == str(status["requests"])
    assert totals["2xx responses"] == str(status["responses"]["2xx"])
    assert shown == expected(status)
    return shown["time"]


def visit(server, path, over):
    """Ask for one route until it is over."""
    while not over.is_set():
        with contextlib.suppress(OSError):
            server.get(path)


def stays_at_home(browser, origin):
    """Hold all that the browser has asked for against the page's origin."""
    asked = {event["request"]["url"] for event in browser.told("Network.requestWillBeSent")}
    assert asked
    assert not {url for url in asked if not url.startswith((origin, "data:", "about:"))}


def test_under_load(serve, tmp_path, background):
    """What is on screen is the JSON of the same moment, also after a worker was killed; nothing
    else is asked for, and nothing is complained about."""
    over = threading.Event()
    args = ["--workers", "3", "--threads", "2", "--chdir", EXAMPLES]
    with serve(*args, app="app:app", tracebacks=None) as server, Browser(tmp_path) as browser:
        server.ready(3)
        try:
            for path in [
                "/slow",
                "/stream",
                "/",
                "/slow",
                "/stream",
                "/slow",
                "/download",
                "/slow",
            ]:
                background.add(visit, server, path, over)
            origin = "http://{}:{}/".format(*server.status_address)
            browser.open(origin)
            answered, moments = {}, set()

            def seen(n):
                return lambda: (
                    moments.add(is_as_told(browser, answered)) or len(moments - {None}) >= n
                )

            eventually(seen(3), "three moments on screen")
            killed = server.workers()[0]
            server.send(signal.SIGKILL, killed)
            browser.sees(
                f"document.getElementById('killed').textContent.includes('{killed}')", "kill"
            )
            eventually(seen(len(moments) + 2), "two moments more")
            began = min(moments - {None})
            browser.open(origin)
            browser.sees(f"seen.length > 3 && seen[0].time <= {began}", "what was before")
            assert browser.run("seen.every((one, i) => i === 0 || one.time > seen[i - 1].time)")
        finally:
            over.set()
        stays_at_home(browser, origin)
        assert browser.complaints() == []
        fault_free(browser)


def fault_free(browser):
    """Hold the page against axe-core's rules, where npm has brought it."""
    if not AXE.exists():
        pytest.skip("the figures are right; faults need `npm install --no-save axe-core`")
    browser.run(AXE.read_text() + "; null")
    run = """axe.run().then((found) => found.violations.map(
      (one) => [one.impact, one.id, one.nodes.map((node) => node.html)]))"""
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            browser.look(width, scheme=scheme)
            assert browser.run(run) == [], (scheme, width)


def test_a_server_that_goes_and_comes_back(serve, tmp_path):
    """The page says so within three seconds, since when, and goes on by itself; it asks for the
    token before it asks the server."""
    bind = free_address()
    env = {"RAINDROPS_BIND": bind, "RAINDROPS_TOKEN": "s3cret"}
    trouble = "document.getElementById('trouble').textContent"
    shown = "!document.getElementById('figures').hidden"
    with Browser(tmp_path) as browser:
        with serve(env=env) as server:
            server.logged("status at")
            browser.open(f"http://{bind}/_raindrops")
            enter(browser, "wrong")
            browser.sees(f"{trouble}.includes('not the server')", "a wrong token")
            assert not browser.run(shown)
            enter(browser, "s3cret")
            browser.sees(shown, "the figures")
            assert browser.run(trouble) == ""
            assert browser.run("PERIOD + PATIENCE") < 3000
            server.kill()
        browser.sees(f"{trouble}.includes('has not answered since')", "that it is gone")
        with serve(env=env) as server:
            server.logged("status at")
            eventually(lambda: server.ask(headers={"Authorization": "Bearer s3cret"}), "status")
            browser.sees(f"{trouble} === '' && {shown}", "that it is back")
        assert browser.complaints() == []


def enter(browser, token):
    """Give the page a token, as its user does."""
    ready = "document.activeElement && document.activeElement.id === 'token'"
    browser.sees(ready, "the question for the token")
    browser.call("Input.insertText", text=token)
    for kind in ("keyDown", "keyUp"):
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        browser.call("Input.dispatchKeyEvent", type=kind, **key)


def hostile(status):
    """Return a status whose every text is hostile."""
    if isinstance(status, dict):
        return {key: hostile(one) for key, one in status.items()}
    if isinstance(status, list):
        return [hostile(one) for one in status]
    return HOSTILE if isinstance(status, str) else status


def absurd(status):
    """Return a status whose every figure is the largest of 64 bits."""
    if isinstance(status, dict):
        return {key: absurd(one) for key, one in status.items()}
    if isinstance(status, list):
        return [absurd(one) for one in status]
    return 2**64 - 1 if type(status) in (int, float) else status


def saying(status):
    """Return a script that has the page be told this status."""
    return f"globalThis.told = {json.dumps(json.dumps(status))};"


def test_a_hostile_status(serve, tmp_path):
    """Whatever a status says, it is text, cut, and without characters that cannot be seen. Figures
    that are absurd are shown, and rows that are the same do not grow in number."""
    with serve("--threads", "2") as server, Browser(tmp_path) as browser:
        status = server.ready(1)
        request = {"method": "GET", "path": "/", "seconds": 2.5, "where": "x"}
        kill = {"time": 1.0, "slot": 0, "pid": 1, "age": 1, "cause": "x", "in_flight": 1}
        told = {**status, "killed": [{**kill, "current": request, "where": "x"}]}
        told["counters"] = {HOSTILE: 1, "__proto__": 2}
        told["workers"] = [{**one, "current": request} for one in status["workers"]]
        told = {**hostile(told), "time": time.time()}
        script = saying(told) + "globalThis.fetch = async () => new Response(told);"
        browser.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        browser.open("http://{}:{}/".format(*server.status_address))
        browser.sees("document.getElementById('killed').children.length", "the figures")
        assert browser.run("document.querySelectorAll('img, [onerror]').length") == 0
        text = browser.run("document.body.innerText + document.title")
        assert text.count("<img src=x onerror=") >= 8
        assert "hurt'" not in browser.run("document.title")
        assert not {"\x1b", "\u202e", "\0", "\ud800"} & set(text)
        assert "x" * 400 not in text
        for width in (1280, 390):
            browser.look(width)
            assert browser.run("document.documentElement.scrollWidth") == width
        kills = [{**kill, "current": request, "where": "x"}] * 8
        for turn in range(3):
            figures = absurd({**status, "killed": kills})
            browser.run(saying({**figures, "time": time.time()}))
            at = "document.getElementById('main').dataset.time"
            browser.sees(f"Number({at}) === JSON.parse(told).time", f"figures {turn}")
        assert browser.run("document.getElementById('killed').children.length") == 8
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert browser.run("document.getElementById('trouble').hidden")
        assert browser.complaints() == []


def test_the_last_ten_minutes(serve, tmp_path):
    """They go on through an upgrade and, with a file, a restart."""
    args, env = ["--workers", "2"], {"RAINDROPS_FILE": str(tmp_path / "file")}

    def kept(server, enough=lambda times: True):
        def read():
            with contextlib.suppress(OSError, http.client.HTTPException):
                found = parsed(server.ask("/_raindrops.json?history")[1])["history"]
                return enough(found["time"]) and found
            return None

        return eventually(read, "moments")

    with serve(*args, env=env) as server:
        server.ready(2)
        first = kept(server, bool)["time"][0]
        new, old = server.upgrade(2), server.pid
        server.end(old)
        assert new != old
        upgraded = int(time.time()) + 1
        assert kept(server, lambda times: times[-1] >= upgraded)["time"][0] == first
    with serve(*args, env=env) as server:
        server.ready(2)
        found = kept(server, lambda times: times[-1] > upgraded + 1)
    assert found["time"][0] == first
    assert {len(column) for column in found.values()} == {len(found["time"])}
    assert found["queued"][-1] == found["calling"][-1] == found["saturation"][-1] == 0
