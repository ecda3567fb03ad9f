"""What the subcommands' arguments have in common, and texts that argparse has checked."""

from __future__ import annotations

import argparse

from ..listeners import addresses

_LONGEST = 1e9  # seconds


def add_listeners(parser: argparse.ArgumentParser, name: str, metavar: str) -> None:
    """Add `[LISTENER ...]`."""
    parser.add_argument(
        name,
        metavar=metavar,
        nargs="*",
        type=listener,
        help="IPv4:PORT, [IPv6]:PORT, a path or @name; none for every listener",
    )


def add_delay(parser: argparse.ArgumentParser) -> None:
    """Add `[-d DELAY]` of a command that takes a sample each second unless told otherwise."""
    parser.add_argument(
        "-d",
        "--delay",
        type=seconds,
        default=1.0,
        metavar="DELAY",
        help="seconds between samples (1)",
    )


def listener(text: str) -> str:
    """Return the address of a listener."""
    try:
        return addresses.parse_listener(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(text: str) -> float:
    """Return a duration."""
    try:
        duration = float(text)
    except ValueError:
        duration = 0.0
    if not 0 < duration < _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return duration
