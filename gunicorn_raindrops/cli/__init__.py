"""The command: `gunicorn-raindrops SUBCOMMAND`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .. import __version__
from . import listeners as cli_listeners
from . import status as cli_status
from . import top as cli_top
from . import watch as cli_watch


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 for an error; a usage error exits with 2."""
    parser = argparse.ArgumentParser(
        prog="gunicorn-raindrops", description="Look at the servers of this machine."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(metavar="SUBCOMMAND", required=True)
    cli_listeners.add_parser(subparsers).set_defaults(run=cli_listeners.run)
    cli_status.add_parser(subparsers).set_defaults(run=cli_status.run)
    cli_top.add_parser(subparsers).set_defaults(run=cli_top.run)
    cli_watch.add_parser(subparsers).set_defaults(run=cli_watch.run)
    args = parser.parse_args(arguments)
    return int(args.run(args))
