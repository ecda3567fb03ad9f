"""What the subcommands' arguments have in common: texts that argparse has checked."""

from __future__ import annotations

import argparse

from ..listeners import addresses

_LONGEST = 1e9  # seconds


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
