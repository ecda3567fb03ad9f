"""A real Chromium, driven over its DevTools protocol."""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest
from websockets.sync.client import connect

from ..bounds import LONG, WAIT
from .servers import eventually

QUIET = [
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--disable-extensions", "--disable-gpu", "--disable-sync",
    "--hide-scrollbars", "--metrics-recording-only",
    "--no-first-run", "--no-sandbox", "--password-store=basic", "--use-mock-keychain",
]  # fmt: skip


class Browser:
    """A headless Chromium with one page; use it in `with`.

    Attributes:
        events: what the page has told so far, as (method, params).
    """

    def __init__(self, folder):
        self._command = [shutil.which("chromium") or pytest.skip("needs Debian's chromium")]
        self._command += [*QUIET, "--headless=new", "--remote-debugging-port=0"]
        self._command += [f"--user-data-dir={folder / 'chromium'}", "about:blank"]
        self.events = []
        self._number = 0
        self._session = None
        self._open = contextlib.ExitStack()

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._alarm = threading.Timer(LONG, self._kill)
        self._alarm.start()
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _attach(self):
        for line in self._process.stderr:
            if found := re.search(r"listening on (ws://\S+)", line):
                break
        drain = threading.Thread(target=self._process.stderr.read, daemon=True)
        drain.start()
        self._open.callback(drain.join, WAIT)
        line = connect(found[1], max_size=None, ping_interval=None)
        self._socket = self._open.enter_context(line)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def __exit__(self, *_):
        self._alarm.cancel()
        self._kill()
        self._process.wait(WAIT)
        self._open.close()
        self._process.stderr.close()

    def call(self, method, **params):
        """Give a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        return self._receive(self._number, time.monotonic() + WAIT)

    def _receive(self, number, until):
        while True:
            message = json.loads(self._socket.recv(max(0.0, until - time.monotonic())))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            if "method" in message:
                self.events.append((message["method"], message["params"]))

    def open(self, url):
        """Go to a page, and wait until it is all there."""
        assert "errorText" not in self.call("Page.navigate", url=url)
        self.sees("document.readyState === 'complete'", "a loaded page")

    def run(self, script):
        """Return what a piece of JavaScript gives."""
        done = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def sees(self, script, what, seconds=WAIT):
        """Return the first true result of a piece of JavaScript."""
        return eventually(lambda: self.run(script), what, seconds)

    def look(self, width, height=800, scheme="light"):
        """Set the size of the window, and whether the user likes it light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=media)

    def shot(self, path, whole=True):
        """Write a picture of the whole page, or of what the window shows of it."""
        done = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(done["data"]))

    def told(self, method):
        """Return the params of all events of a kind."""
        return [params for name, params in self.events if name == method]

    def complaints(self):
        """Return what stands in the console, but for the network's own lines."""
        logged = [one["entry"] for one in self.told("Log.entryAdded")]
        said = [one["text"] for one in logged if one["source"] != "network"]
        called = [one["args"] for one in self.told("Runtime.consoleAPICalled")]
        return said + called + self.told("Runtime.exceptionThrown")
