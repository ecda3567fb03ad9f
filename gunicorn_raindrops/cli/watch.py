"""`gunicorn-raindrops watch`: the Watcher, on an address of its own.

The standard library's server serves it, a thread for each connection, since a tail lasts as long as
its client. As on the status address, a request whose Host is a name that anybody can give to this
machine is refused: a page of another site would be of the same origin then.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
from functools import partial
from typing import Any

from ..listeners import addresses
from ..settings import load
from . import arguments
from .terminal import Failed, Signalled, complain, end, outcome


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the command to an argument parser's subparsers."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "watch",
        help="serve samples of listeners: pages, histograms, a tail",
        description="Sample the listeners of this machine, whatever server they belong to, and "
        "show them by HTTP: / lists them, with links to histograms and a tail of each. Whoever may "
        "connect may look and reset.",
    )
    parser.add_argument(
        "--listen",
        required=True,
        type=_listen,
        metavar="ADDR",
        help="where to serve: HOST:PORT, [IPv6]:PORT or unix:/PATH; port 0 for any free one",
    )
    arguments.add_listeners(parser, "listeners", "LISTENER")
    arguments.add_delay(parser)
    return parser


def _listen(text: str) -> str:
    try:
        address = addresses.parse_bind(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if address is None:
        raise argparse.ArgumentTypeError("an address is needed")
    return text


def run(args: argparse.Namespace) -> int:
    """Do what `add_parser`'s arguments say, and return the exit status: 0 for a SIGTERM."""
    return outcome(partial(_serve, args))


def _serve(args: argparse.Namespace) -> None:
    from ..status.listener import StatusListener
    from ..watcher import Watcher
    from .serving import Server, checked

    settings = load({"bind": args.listen}, {})
    listener = StatusListener(settings)
    watcher = Watcher(args.listeners, args.delay)
    with contextlib.suppress(Signalled), contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        stack.callback(watcher.close)
        signal.signal(signal.SIGTERM, end)
        try:
            listener.open()
        except OSError as error:
            raise Failed(f"cannot listen on {args.listen}: {error}") from None
        server = stack.enter_context(Server(listener.sock, checked(watcher, settings)))
        complain(f"watching at {_url(listener.sock)}")
        server.serve_forever()


def _url(sock: Any) -> str:
    name = addresses.name_of(sock.family, sock.getsockname())
    return f"unix:{name}" if sock.family == socket.AF_UNIX else f"http://{name}/"
