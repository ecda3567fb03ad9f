"""The integration tests' application inside Middleware, for servers that are not gunicorn."""

import os

import apps

from gunicorn_raindrops import Middleware, Struct


class Stats(Struct):
    calling: int
    writing: int


app = Middleware(
    apps.app,
    stats=Stats() if "COUNTED_STATS" in os.environ else None,
    file=os.environ.get("COUNTED_FILE"),
)
