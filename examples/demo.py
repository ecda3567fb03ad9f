"""Serve the example application with the shipped config, and send it a little load.

The load ends by itself after ten minutes; the server goes on until Ctrl-C.
"""

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
BIND = os.environ.get("DEMO_BIND", "127.0.0.1:8000")
STATUS = os.environ.get("RAINDROPS_BIND", "127.0.0.1:9180")
LOAD_SECONDS = 600
CLIENTS = 6
ROUTES = ["/"] * 6 + ["/slow"] * 4 + ["/stream"] * 3 + ["/download", "/missing"]


def client(over: threading.Event) -> None:
    """Ask for one route after the other until the load is over."""
    until = time.monotonic() + LOAD_SECONDS
    while time.monotonic() < until and not over.is_set():
        url = f"http://{BIND}{random.choice(ROUTES)}"
        # as a proxy in front would, so that the time since then is counted
        asked = urllib.request.Request(url, headers={"X-Request-Start": f"t={time.time():.3f}"})
        try:
            with urllib.request.urlopen(asked, timeout=30) as response:
                response.read()
        except (OSError, http.client.HTTPException):
            over.wait(0.5)  # a 404, or not up yet, or it ends
        over.wait(random.random())


def main() -> int:
    """Run the server until it ends, with clients beside it."""
    gunicorn = Path(sys.executable).parent / "gunicorn"
    command = [str(gunicorn), "-c", "python:gunicorn_raindrops.conf"]
    command += ["--bind", BIND, "--workers", "2", "--threads", "2", "--chdir", str(HERE), "app:app"]
    # in a session of its own: a Ctrl-C that its workers get as well breaks off their requests
    environ = {"RAINDROPS_QUEUE_HEADER": "on", **os.environ}
    server = subprocess.Popen(command, env=environ, start_new_session=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: server.terminate())
    over = threading.Event()
    clients = [threading.Thread(target=client, args=(over,), daemon=True) for _ in range(CLIENTS)]
    for thread in clients:
        thread.start()
    print(
        f"\n  the live page:    http://{STATUS}/"
        f"\n  the application:  http://{BIND}/  (/slow /stream /download /missing /fail)"
        f"\n  as text:          curl http://{STATUS}/_raindrops"
        f"\n  as JSON:          curl http://{STATUS}/_raindrops.json"
        "\n  Ctrl-C ends it.\n",
        flush=True,
    )
    status = server.wait()
    over.set()
    for thread in clients:
        thread.join(timeout=1)
    return status


if __name__ == "__main__":
    sys.exit(main())
