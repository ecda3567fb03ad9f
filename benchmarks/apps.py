"""The applications that the benchmarks serve."""

import ctypes
import gc
import os
import time

BODY = b"hello, world\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]
BURN = 200_000
"""Turns of a loop: about 5 ms."""


def hello(environ, start_response):
    """Answer at once."""
    start_response("200 OK", HEADERS)
    return [BODY]


def burn(environ, start_response):
    """Run pure Python for some 5 ms, then answer."""
    i = 0
    while i < BURN:
        i += 1
    start_response("200 OK", HEADERS)
    return [BODY]


def collect(environ, start_response):
    """Answer /gc, after a full garbage collection, with this worker's pid."""
    if environ["PATH_INFO"] != "/gc":
        return hello(environ, start_response)
    gc.collect()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]


def stick(environ, start_response):
    """Answer /stick after ten minutes in a C call that holds the interpreter."""
    if environ["PATH_INFO"] == "/stick":
        ctypes.PyDLL(None).sleep(600)
    return hello(environ, start_response)


def stuck(environ, start_response):
    """Answer /sleep and /stick after a minute: asleep, or in C code that keeps the interpreter."""
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(60)
    if environ["PATH_INFO"] == "/stick":
        time.sleep(1.5)
        ctypes.PyDLL(None).sleep(60)
    return hello(environ, start_response)


ASGI_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS]


async def hello_asgi(scope, receive, send):
    """Answer at once, as an ASGI application; the lifespan is nothing to it."""
    if scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")
    await send({"type": "http.response.start", "status": 200, "headers": ASGI_HEADERS})
    await send({"type": "http.response.body", "body": BODY})
