"""An ASGI application that fails: /HOW/WHEN, in the ways of failing_app.py.

How: an error that it raises, or "return". When: "call", before it has given a status; "start",
after that; "middle", after a chunk.
"""

import asyncio

from failing_app import ERRORS

ERRORS = {**ERRORS, "cancel": asyncio.CancelledError}
START = {"type": "http.response.start", "status": 200, "headers": []}
CHUNK = {"type": "http.response.body", "body": b"chunk", "more_body": True}
STEPS = {"call": [], "start": [START], "middle": [START, CHUNK]}


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    how, _, when = scope["path"].strip("/").partition("/")
    for message in STEPS[when]:
        await send(dict(message))
    if how != "return":
        raise ERRORS[how]()
