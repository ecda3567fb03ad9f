"""An ASGI application with the routes of the WSGI one, inside ASGIMiddleware."""

import asyncio
import os
from urllib.parse import parse_qs

from gunicorn_raindrops import ASGIMiddleware

CODES = {"/": 200, "/nowhere": 404, "/redirect": 302, "/unavailable": 503}


async def plain(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode()).items()}
    path = scope["path"]
    if path == "/boom":
        raise RuntimeError("boom before the response")
    if path == "/sleep":
        await asyncio.sleep(float(query["s"]))
    sizes = [("content-length", "6")] if path in CODES else []
    headers = [(name.encode(), value.encode()) for name, value in sizes]
    code = CODES.get(path, 200)
    await send({"type": "http.response.start", "status": code, "headers": headers})
    if path == "/boom-first":
        raise RuntimeError("boom before the first byte")
    if path == "/stream":
        await stream(send, int(query["n"]), float(query["s"]), int(query["size"]))
    if path == "/boom-mid":
        await stream(send, 2, 0, 10)
        raise RuntimeError("boom within the response")
    await send({"type": "http.response.body", "body": b"hello\n" if path in CODES else b""})
    return None


async def stream(send, n, s, size):
    for _ in range(n):
        body = b"x" * size
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(s)


async def lifespan(receive, send):
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


app = ASGIMiddleware(plain, file=os.environ.get("COUNTED_FILE"))
