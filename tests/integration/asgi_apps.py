"""The ASGI application that the integration tests serve, with the routes of the WSGI one, and
/websocket beside them."""

import asyncio
import os
import signal
import time
from urllib.parse import parse_qs

from apps import spin_on

CODES = {"/": 200, "/nowhere": 404, "/redirect": 302, "/unavailable": 503}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    if scope["type"] == "websocket":
        return await websocket(scope, receive, send)
    query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode()).items()}
    path = scope["path"]
    if path == "/boom":
        raise RuntimeError("boom before the response")
    if path == "/sleep":
        await asyncio.sleep(float(query["s"]))
    if path == "/hold":
        await hold(query["port"])
    if path == "/hold-spinning":
        spin_on(int(query["port"]))
    if path == "/spin":
        spin(float(query["s"]))
    if path == "/block":
        time.sleep(float(query["s"]))
    if path == "/stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    body = b"hello\n"
    if path == "/big":
        body = bytes(int(query["size"]))
    if path == "/started":
        body = str(scope.get("state", {}).get("started")).encode()
    sizes = [] if path in STREAMED else [("content-length", str(len(body)))]
    headers = [(name.encode(), value.encode()) for name, value in sizes]
    code = CODES.get(path, 200)
    await send({"type": "http.response.start", "status": code, "headers": headers})
    if path == "/boom-first":
        raise RuntimeError("boom before the first byte")
    if path == "/stream":
        await stream(send, int(query["n"]), float(query["s"]), int(query["size"]))
    if path == "/hold-writing":
        await stream(send, 1, 0, 10)
        await hold(query["port"])
        await stream(send, 1, 0, 20)
    if path == "/boom-mid":
        await stream(send, 2, 0, 10)
        raise RuntimeError("boom within the response")
    await send({"type": "http.response.body", "body": b"" if path in STREAMED else body})
    if path == "/background":
        await asyncio.sleep(float(query["s"]))
    return None


STREAMED = {"/stream", "/hold-writing", "/boom-mid", "/boom-first"}


async def hold(port):
    """Tell the test who has its request, and keep it until the test hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%d" % os.getpid())
    await reader.read(1)
    writer.close()


def spin(s):
    until = time.monotonic() + s
    while time.monotonic() < until:
        pass


async def stream(send, n, s, size):
    for _ in range(n):
        body = b"x" * size
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(s)


async def lifespan(scope, receive, send):
    while True:
        kind = (await receive())["type"]
        if kind == "lifespan.startup":
            scope.get("state", {})["started"] = "lifespan"
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def unready(scope, receive, send):
    """An application that cannot start."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "not today"})


async def websocket(scope, receive, send):
    """Echo until the client leaves or says "bye"; refuse whoever asks for /refused."""
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/refused":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") == "bye":
            await send({"type": "websocket.close", "code": 1000})
            return
        await send({"type": "websocket.send", "text": message.get("text") or ""})
