"""FastAPI applications whose requests are slow: plain, and behind BaseHTTPMiddleware."""

from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware
from stuck import awaiting, outer


class Between(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


def made():
    app = FastAPI()

    @app.get("/async")
    async def async_endpoint(s: float):
        await awaiting(s)

    @app.get("/def")
    def def_endpoint(s: float):
        outer(s)

    return app


app = made()
behind = made()
behind.add_middleware(Between)
behind.add_middleware(Between)
