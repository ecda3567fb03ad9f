"""Which server a command is to look at: its arguments, and how a server is called."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from typing import Any

from .report import Status
from .server import Server

_LONGEST_PID = 9  # digits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `[URL | --pid N] [--token-file FILE]`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        type=_target,
        help="where its status is: http://HOST:PORT[/PATH], HOST:PORT or unix:/PATH",
    )
    which.add_argument("--pid", type=_pid, metavar="N", help="its arbiter's pid, or a worker's")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="has the token for the URL, instead of RAINDROPS_TOKEN or RAINDROPS_TOKEN_FILE",
    )


def token(args: argparse.Namespace) -> str | None:
    """Return the token for the URL.

    Raises:
        Failed: it cannot be read, or it is none.
    """
    from . import client

    return client.token(os.environ, args.token_file)


def fetch(args: argparse.Namespace, bearer: str | None) -> Status:
    """Return the status at the URL.

    Raises:
        Failed: it cannot be had.
    """
    from . import client

    return client.fetch(args.url, bearer)


def processes(server: Server) -> str:
    """Return a server's first processes, and their folder."""
    kinds = ("arbiter", "arbiters") if server.is_gunicorn else ("process", "processes")
    place = f" in {server.folder}" if server.folder else ""
    return f"{kinds[len(server.pids) > 1]} {', '.join(map(str, server.pids))}{place}"


def head(server: Server, addresses: Iterable[str]) -> str:
    """Return which server it is, with the addresses of its listeners."""
    return f"{processes(server)}: {', '.join(addresses) or 'no listener'}"


def _target(text: str) -> Any:
    from . import client  # HTTP takes as long to import as all the rest of a status by pid

    try:
        return client.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_PID and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a process's number")
    return int(text)
