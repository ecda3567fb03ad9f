"""An application that is worth watching: quick, slow, streaming and failing routes.

/           answers at once
/slow       thinks for a second: shows as calling
/stream     sends a chunk every tenth of a second, for two seconds: shows as writing
/download   a file of 1 MiB through the server's file wrapper
/missing    404
/fail       raises
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]

TEXT = [("Content-Type", "text/plain")]


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Dispatch on the path."""
    route = ROUTES.get(environ["PATH_INFO"])
    if route is None:
        start_response("404 Not Found", TEXT)
        return [b"there is no such page\n"]
    return route(environ, start_response)


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"hello\n"]


def slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    time.sleep(1)
    start_response("200 OK", TEXT)
    return [b"that took a second\n"]


def stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return ticks()


def ticks() -> Iterator[bytes]:
    for i in range(20):
        yield b"chunk %d\n" % i
        time.sleep(0.1)


def download(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    file = tempfile.TemporaryFile()  # noqa: SIM115  # gunicorn closes it after the response
    file.write(bytes(1 << 20))
    file.seek(0)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
    return wrapped


def fail(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise RuntimeError("this route always fails")


ROUTES = {
    "/": hello,
    "/slow": slow,
    "/stream": stream,
    "/download": download,
    "/fail": fail,
}
