"""Slots of middlewares, which are looked at where the process has a thread that does."""

import asyncio
import threading

import pytest

from gunicorn_raindrops import ASGIMiddleware, Middleware
from gunicorn_raindrops.looking import looker, watched

from ..bounds import WAIT
from .turns import turned


@pytest.fixture(autouse=True)
def _aged(monkeypatch):
    """A request is looked at at once."""
    monkeypatch.setattr(looker, "AGE", 0)
    monkeypatch.setattr(watched, "_lookers", [])


def where(app):
    workers = app._status._take().workers
    return workers[0].current and workers[0].current.where


def test_wsgi():
    """In the call of the application, and in its body."""
    inside, go_on = threading.Event(), threading.Event()

    def waiting():
        inside.set()
        go_on.wait(WAIT)
        go_on.clear()

    def body():
        waiting()
        yield b"x"

    def app(environ, start_response):
        waiting()
        start_response("200 OK", [])
        return body()

    middleware = Middleware(app)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    thread = threading.Thread(target=lambda: list(middleware(environ, lambda *_: None)))
    thread.start()
    seen = []
    for _ in range(2):
        inside.wait(WAIT)
        inside.clear()
        watched.look()
        seen.append(where(middleware))
        go_on.set()
    thread.join()
    assert [line.rpartition(" ")[2] for line in seen] == ["waiting", "waiting"]
    watched.look()
    assert where(middleware) is None
    middleware._slots._board.forget_file()


def test_asgi():
    """In the coroutine of the application."""

    async def waiting():
        await gate

    async def app(scope, receive, send):
        await waiting()

    middleware = ASGIMiddleware(app)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    seen = []

    async def main():
        nonlocal gate
        gate = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(middleware(scope, None, None))
        await turned()
        await asyncio.to_thread(watched.look)
        seen.append(where(middleware))
        gate.set_result(None)
        await task

    gate = None
    asyncio.run(main())
    assert seen[0].endswith(" in waiting")
    middleware._slots._board.forget_file()
