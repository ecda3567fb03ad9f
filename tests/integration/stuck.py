"""Applications whose requests are slow two calls deep, for what is told of where they stand."""

import asyncio
import ctypes
import time
from urllib.parse import parse_qs


def innermost(s):
    secret = "planted-in-a-local"  # noqa: F841
    time.sleep(s)


def outer(s, argument="planted-in-an-argument"):
    innermost(s)


def in_c(s):
    """Wait in C code that takes no signal and leaves the interpreter to others."""
    until = time.monotonic() + s
    while (left := until - time.monotonic()) > 0:
        ctypes.CDLL(None).poll(None, 0, int(left * 1000) + 1)


def in_c_with_the_interpreter(s):
    """Wait, then be in C code that keeps the interpreter."""
    time.sleep(1.5)
    ctypes.PyDLL(None).usleep(int(s * 1e6))


WAYS = {"/sleep": outer, "/c": in_c, "/stick": in_c_with_the_interpreter}


def app(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    if environ["PATH_INFO"] in WAYS:
        WAYS[environ["PATH_INFO"]](float(query["s"][0]))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"hello\n"]


async def awaited(s):
    secret = "planted-in-a-local"  # noqa: F841
    await asyncio.sleep(s)


async def awaiting(s, argument="planted-in-an-argument"):
    await awaited(s)


async def generated(s):
    await awaiting(s)
    yield b""


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    s = float(parse_qs(scope["query_string"].decode()).get("s", ["0"])[0])
    if scope["path"] == "/sleep":
        await awaiting(s)
    if scope["path"] == "/block":
        outer(s)
    if scope["path"] == "/generate":
        async for _ in generated(s):
            pass
    if scope["path"] == "/executor":
        await asyncio.get_running_loop().run_in_executor(None, outer, s)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello\n"})
