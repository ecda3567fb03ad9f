"""The integration tests' ASGI application inside ASGIMiddleware."""

import os

import asgi_apps

from gunicorn_raindrops import ASGIMiddleware

app = ASGIMiddleware(asgi_apps.app, file=os.environ.get("COUNTED_FILE"))
