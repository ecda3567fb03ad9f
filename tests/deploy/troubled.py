"""Applications that are in trouble: each is one cause of an alert."""

import asyncio
import fcntl
import os
import signal
import sys
import time


def leaves(environ, start_response):
    """Leave soon after the answer. In a request gunicorn would take sys.exit for an error of it."""
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(1))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    start_response("200 OK", [("Content-Length", "0")])
    return []


def booted_once(environ, start_response):
    """It boots in one worker only, see below."""
    start_response("200 OK", [("Content-Length", "0")])
    return []


async def blocking(scope, receive, send):
    """Block the event loop, as an asyncio application must not, for a tenth of a second."""
    if scope["path"] == "/block":
        time.sleep(0.1)
    else:
        await asyncio.sleep(0)
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _boot():
    """Let one worker boot. Others wait for ever, or end, as TROUBLED_BOOT says."""
    how = os.environ.get("TROUBLED_BOOT")
    if how is None:
        return
    fd = os.open(os.environ["TROUBLED_LOCK"], os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if how == "hang":
            fcntl.flock(fd, fcntl.LOCK_EX)
        time.sleep(0.5)  # bounds how often it restarts
        os._exit(1)


_boot()
