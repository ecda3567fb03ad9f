"""`gunicorn-raindrops status`: one look at a server, or at all of this machine."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from ..exporters.json import as_dict
from . import find, report
from .report import Status
from .server import Server
from .terminal import Failed, Page, complain, outcome

_LONGEST_PID = 9  # digits


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to an argument parser's subparsers."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "status",
        help="show a server: requests, listeners, workers",
        description="Show what runs in a server and what waits outside. Without an argument every "
        "server of this machine is shown that this user may read. By pid the server's memory is "
        "read, so there is an answer even when no worker can give one.",
    )
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
    parser.add_argument("--json", action="store_true", help="everything, as JSON; a list for all")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what `add_parser`'s arguments say, and return the exit status."""
    return outcome(partial(_show, args))


def _show(args: argparse.Namespace) -> None:
    if args.url is not None:
        _show_one(args, _fetch(args))
    elif args.pid is not None:
        _show_one(args, _sample(find.of(args.pid)))
    else:
        _show_all(args)


def _fetch(args: argparse.Namespace) -> Status:
    from . import client

    return client.fetch(args.url, client.token(os.environ, args.token_file))


def _show_one(args: argparse.Namespace, status: Status) -> None:
    if args.json:
        print(json.dumps(status, indent=1))
    else:
        _print(report.lines(status))


def _show_all(args: argparse.Namespace) -> None:
    found = list(_readable(find.find(complain)))
    if not found:
        raise Failed("no server can be read")
    if args.json:
        print(json.dumps([status for _, status in found], indent=1))
        return
    for at, (server, status) in enumerate(found):
        _print([""] * bool(at) + [_head(server, status), *report.lines(status)])


def _readable(servers: list[Server]) -> Iterator[tuple[Server, Status]]:
    """Yield servers with their status, but those that cannot be read; each of these is told."""
    for server in servers:
        try:
            status = _sample(server)
        except OSError as error:
            complain(f"process {server.pids[0]}: {error}")
        else:
            yield server, status


def _sample(server: Server) -> Status:
    return as_dict(server.sample(complain))


def _head(server: Server, status: Status) -> str:
    """Return which server it is."""
    kinds = ("arbiter", "arbiters") if server.is_gunicorn else ("process", "processes")
    addresses = [listener["address"] for listener in status["listeners"]] or ["no listener"]
    place = f" in {server.folder}" if server.folder else ""
    pids = f"{kinds[len(server.pids) > 1]} {', '.join(map(str, server.pids))}"
    return f"{pids}{place}: {', '.join(addresses)}"


def _print(lines: Iterable[str]) -> None:
    page = Page()
    for line in lines:
        page.line(line)


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
