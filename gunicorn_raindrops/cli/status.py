"""`gunicorn-raindrops status`: one look at a server, or at all of this machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from ..exporters.json import as_dict
from . import find, report, which
from .report import Status
from .server import Server
from .terminal import Failed, Page, complain, outcome


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to an argument parser's subparsers."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "status",
        help="show a server: requests, listeners, workers",
        description="Show what runs in a server and what waits outside. Without an argument every "
        "server of this machine is shown that this user may read. By pid the server's memory is "
        "read, so there is an answer even when no worker can give one.",
    )
    which.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="everything, as JSON; a list for all")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what `add_parser`'s arguments say, and return the exit status."""
    return outcome(partial(_show, args))


def _show(args: argparse.Namespace) -> None:
    if args.url is not None:
        _show_one(args, which.fetch(args, which.token(args)))
    elif args.pid is not None:
        _show_one(args, _sample(find.of(args.pid)))
    else:
        _show_all(args)


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
    return which.head(server, [listener["address"] for listener in status["listeners"]])


def _print(lines: Iterable[str]) -> None:
    page = Page()
    for line in lines:
        page.line(line)
