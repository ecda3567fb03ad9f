"""`gunicorn-raindrops top`: a server, live.

Four parts: a `source` (URL or memory) that a `reader` asks once a second; the `model`, which turns
documents and keys into what is to be seen; `view` and `panels`, which lay that out; the `screen`.
`live` lets them work together.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from typing import Any

from .. import arguments, which
from ..server import Server
from ..terminal import Failed, fit, has_unicode, outcome


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to an argument parser's subparsers."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "top",
        help="watch a server: the same as status, live",
        description="Watch what runs in a server and what waits outside. Without an argument it is "
        "the only server of this machine that this user may read, or one to choose. h shows the "
        "keys. It needs rich: pip install gunicorn-raindrops[top]",
    )
    which.add_arguments(parser)
    arguments.add_delay(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what `add_parser`'s arguments say, and return the exit status."""
    return outcome(partial(_top, args))


def _top(args: argparse.Namespace) -> None:
    from . import screen, source

    screen.check()
    _need_rich()
    from . import live

    live.watch(source.of(args, _choose), args.delay)


def _need_rich() -> None:
    try:
        import rich  # noqa: F401
    except ImportError:
        raise Failed("top needs rich: pip install gunicorn-raindrops[top]") from None


def _choose(servers: list[Server]) -> Server:
    """Return the only server, or the one that the user says."""
    if len(servers) == 1:
        return servers[0]
    for at, server in enumerate(servers, 1):
        print(f"{at}  {_line(server)}")
    try:
        answer = input(f"Which one (1-{len(servers)})? ").strip()
    except EOFError:
        answer = ""
    if not (answer.isascii() and answer.isdigit() and 1 <= int(answer[:9]) <= len(servers)):
        raise Failed("none is chosen; --pid names one")
    return servers[int(answer[:9]) - 1]


def _line(server: Server) -> str:
    from ...listeners.addresses import name_of

    names = [name_of(one.family, one.getsockname()) for one in server.listeners()]
    return fit(
        which.head(server, names),
        shutil.get_terminal_size().columns - 4,
        is_ascii=not has_unicode(),
    )
