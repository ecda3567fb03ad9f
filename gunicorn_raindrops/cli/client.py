"""The status of a server by its URL."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .. import environment, settings
from ..exporters.json import VERSION
from ..listeners import addresses
from .terminal import Failed

PATH = "/_raindrops"
TIMEOUT = 10.0  # seconds without a byte
MOST = 64 << 20  # bytes of a status: that of 65536 workers has fewer

_TAKES = "http://HOST:PORT[/PATH], HOST:PORT or unix:/PATH"


class Target(NamedTuple):
    """Where a status is.

    Attributes:
        name: as the user has it.
        host, port: of a TCP address.
        socket: the path of a unix socket; None for TCP.
        path: that of the JSON; None: the server's default.
    """

    name: str
    host: str = "localhost"
    port: int = 80
    socket: str | None = None
    path: str | None = None


def parse(text: str) -> Target:
    """Return what a URL or an address names.

    Raises:
        ValueError: it is none.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        addresses.check_length(path)
        return Target(text, socket=path)
    url = text if "://" in text else f"http://{text}"
    if not re.fullmatch(r"[!-~]+", url):
        raise ValueError(f"{text!r} is not {_TAKES}")
    scheme, place, path, query, fragment = parts = urlsplit(url)
    has_port = parts.port is not None or "://" in text
    if scheme != "http" or not parts.hostname or not has_port or "@" in place or query or fragment:
        raise ValueError(f"{text!r} is not {_TAKES}")
    return Target(text, parts.hostname, parts.port or 80, path=_json_path(path))


def _json_path(path: str) -> str | None:
    if path in ("", "/"):
        return None
    return path if path.endswith(".json") else f"{path.rstrip('/')}.json"


def token(environ: Mapping[str, str], file: str | None) -> str | None:
    """Return the token that is to be shown: that of a file before that of the variables.

    Raises:
        Failed: it cannot be read, or it is none.
    """
    names = (environment.variable("token"), environment.TOKEN_FILE)
    given = (
        {environment.TOKEN_FILE: file} if file else {n: environ[n] for n in names if n in environ}
    )
    try:
        return settings.load({}, given).token
    except ValueError as error:
        text = str(error)
        raise Failed(
            text.replace(environment.TOKEN_FILE, "--token-file") if file else text
        ) from None


def fetch(target: Target, bearer: str | None) -> dict[str, Any]:
    """Return the status as JSON's types; of what it holds the version alone is checked.

    Raises:
        Failed: it cannot be had.
    """
    path = target.path or f"{os.environ.get(environment.variable('path')) or PATH}.json"
    try:
        code, body = _get(target, path, bearer)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{target.name}: {error or type(error).__name__}") from None
    if code != 200:
        raise Failed(f"{target.name} answers {code} for {path}{_REASONS.get(code, '')}")
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict) or "version" not in status:
        raise Failed(f"{target.name}: {path} is no status of gunicorn-raindrops")
    if status["version"] != VERSION:
        theirs = f"version {status['version']} of the status"
        raise Failed(f"{target.name} tells {theirs}, this command knows version {VERSION}")
    return status


_REASONS = {
    401: ": it asks for a token (RAINDROPS_TOKEN, RAINDROPS_TOKEN_FILE, --token-file)",
    404: ": the status is at another path",
}


def _get(target: Target, path: str, bearer: str | None) -> tuple[int, bytes]:
    """Return the status code and the body of an answer."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    connection = http.client.HTTPConnection(target.host, target.port, timeout=TIMEOUT)
    try:
        if target.socket is not None:
            connection.sock = _connected(target.socket)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read(MOST + 1)
        if len(body) > MOST:
            raise OSError(f"the answer has more than {MOST} bytes")
        return response.status, body
    finally:
        connection.close()


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(TIMEOUT)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
