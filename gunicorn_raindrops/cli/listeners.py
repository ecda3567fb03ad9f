"""`gunicorn-raindrops listeners`: the accept queues of any server on this machine, once or on."""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from ..exporters.printable import printable
from ..listeners import ListenStats, addresses, tcp_listener_stats, unix_listener_stats
from . import arguments
from .terminal import complain, outcome

_COLUMNS = ("active", "queued", "waiting", "backlog", "dropped")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to an argument parser's subparsers."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "listeners",
        help="show accept queues: connections active, queued, waiting, dropped",
        description="Show what waits at the listeners of this machine, whatever server they "
        "belong to. A figure that the kernel does not tell is shown as -.",
    )
    arguments.add_listeners(parser, "addresses", "ADDR")
    parser.add_argument(
        "-d", "--delay", type=arguments.seconds, metavar="DELAY", help="repeat every DELAY seconds"
    )
    parser.add_argument(
        "-t",
        "--queued-threshold",
        type=_count,
        default=0,
        metavar="QUEUED_THRESHOLD",
        help="show only listeners with at least so many queued connections",
    )
    parser.add_argument("-a", "--all", action="store_true", help="every listener, beside any ADDR")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what `add_parser`'s arguments say, and return the exit status."""
    return outcome(partial(_watch, args))


def _watch(args: argparse.Namespace) -> None:
    _warn(args.addresses)
    table = None if args.json else Table()
    due = time.monotonic()
    while True:
        found = _read(args.addresses, args.all or not args.addresses)
        rows = {n: s for n, s in found.items() if (s.queued or 0) >= args.queued_threshold}
        if table:
            table.print(rows)
        else:
            _print_json(rows)
        sys.stdout.flush()
        if args.delay is None:
            return
        due = max(due + args.delay, now := time.monotonic())
        time.sleep(due - now)


def _read(asked: list[str], everything: bool) -> dict[str, ListenStats]:
    found = tcp_listener_stats([one for one in asked if not _is_unix(one)])
    found |= unix_listener_stats([one for one in asked if _is_unix(one)])
    if everything:
        found = tcp_listener_stats() | unix_listener_stats() | found
    return found


class Table:
    """Aligned columns, as wide as what has been shown so far; the head comes once."""

    def __init__(self) -> None:
        self._width = 0

    def print(self, rows: dict[str, ListenStats]) -> None:
        """Print a line for each listener."""
        names = {name: printable(name) for name in rows}
        head = not self._width
        self._width = max([self._width, len("address"), *map(len, names.values())])
        if head:
            self._line("timestamp", "address", _COLUMNS)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for name, stats in rows.items():
            figures = _figures(stats).values()
            self._line(now, names[name], ("-" if n is None else str(n) for n in figures))

    def _line(self, when: str, name: str, figures: Iterable[str]) -> None:
        cells = "".join(f" {figure:>10}" for figure in figures)
        print(f"{when:>20} {name:>{self._width}}{cells}")


def _figures(stats: ListenStats) -> dict[str, int | None]:
    figures = {**stats._asdict(), "waiting": stats.waiting}
    return {name: figures[name] for name in _COLUMNS}


def _print_json(rows: dict[str, ListenStats]) -> None:
    now = time.time()
    for name, stats in rows.items():
        print(json.dumps({"time": now, "address": name, **_figures(stats)}))


def _is_unix(address: str) -> bool:
    return addresses.family_of(address) == socket.AF_UNIX


def _warn(asked: list[str]) -> None:
    """Warn of an address that nobody listens on by itself, but as one of all (0.0.0.0, [::])."""
    asked = [one for one in asked if not _is_unix(one)]
    if not asked:
        return
    listening = {addresses.parse_tcp(one) for one in tcp_listener_stats(active=False)}
    for one in asked:
        family, port, packed = key = addresses.parse_tcp(one)
        wildcard = (family, port, bytes(len(packed)))
        if key not in listening and wildcard in listening:
            complain(
                f"nobody listens on {one} itself: ask for {addresses.tcp_text(wildcard)}",
            )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a count")
    return int(text)
