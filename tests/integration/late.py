"""Applications whose middleware is made at the first request, as by Starlette's add_middleware."""

import functools

import apps
import asgi_apps

from gunicorn_raindrops import ASGIMiddleware, Middleware


@functools.cache
def counted():
    return Middleware(apps.app)


@functools.cache
def counted_asgi():
    return ASGIMiddleware(asgi_apps.app)


def app(environ, start_response):
    return counted()(environ, start_response)


async def asgi(scope, receive, send):
    if scope["type"] != "lifespan":
        await counted_asgi()(scope, receive, send)
