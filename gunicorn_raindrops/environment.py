"""The RAINDROPS_* variables of a process."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PREFIX = "RAINDROPS_"
TOKEN_FILE = "RAINDROPS_TOKEN_FILE"
"""Names a file that has the token: a secret that no other process finds in the environment."""
INHERITED = "RAINDROPS_INHERITED"
"""In it an arbiter names its descriptors for the one that it executes: no setting."""

_MOST = 4096  # bytes of a token's file


def variable(name: str) -> str:
    """Return the variable of a setting."""
    return PREFIX + name.upper()


def token(environ: Mapping[str, str]) -> str | None:
    """Return the token of the file that TOKEN_FILE names; None where it names none.

    Raises:
        ValueError: it cannot be read or is empty, or the token is given in both ways.
    """
    path = environ.get(TOKEN_FILE)
    if not path:
        return None
    if environ.get(variable("token")):
        raise ValueError(
            f"{TOKEN_FILE} and {variable('token')} are both set; one of them is enough"
        )
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MOST).strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{TOKEN_FILE}: {path!r} cannot be read: {reason}") from None
    if not text:
        raise ValueError(f"{TOKEN_FILE}: {path!r} is empty, and must hold a token")
    return os.fsdecode(text)


def unknown(environ: Mapping[str, str], settings: Iterable[str]) -> Iterator[str]:
    """Yield a line for each RAINDROPS_* variable that is no setting, with the nearest that is."""
    known = [*map(variable, settings), TOKEN_FILE]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name != INHERITED and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            yield f"{name} is no setting; did you mean {near[0]}?"
