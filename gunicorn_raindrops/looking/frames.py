"""Lines of code, from frames: which is the application's own, and how lines are shown.

Files, line numbers and names of functions are all that is taken from a frame: never a value, an
argument or a line's text, which may hold a secret. What is shown is bounded, and has no control
characters: a path or a name may be anything, in code that was compiled from a string.

A frame is held for no longer than it takes to walk a stack. Whoever holds the last reference to one
destroys its variables, in their own thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import groupby, islice
from pathlib import Path
from types import FrameType
from typing import Any

from .._native._scoreboard import lib
from ..exporters.printable import printable

Line = tuple[str, int, str]
"""A file, a line's number in it, and the name of the function."""

MOST_FRAMES = 1000
"""Of a stack, the innermost."""
MOST_LINES = 100
"""That are shown of a stack, the innermost."""
MOST_FILE = 300  # characters
MOST_FUNCTION = 60
ROOM = int(lib.GRD_ENTRY_WHERE) - 1  # bytes
CUT = "\u2026"

_FOR_APPLICATIONS = {"send", "receive", "start_response", "_write"}
"""Functions of ours that an application calls: the server's are further in."""
_PACKAGES = {"site-packages", "dist-packages"}
_OURS = str(Path(__file__).absolute().parent.parent)


def line_of(frame: FrameType) -> Line:
    """Return the line that a frame is at."""
    code = frame.f_code
    return code.co_filename, frame.f_lineno or 0, code.co_name


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and those that have called it, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def stack_of(frame: FrameType | None) -> list[Line]:
    """Return the lines of a stack, given its innermost frame; the innermost line is the last."""
    lines = [line_of(one) for one in islice(outwards(frame), MOST_FRAMES)]
    lines.reverse()
    return lines


def within_request(lines: Sequence[Line]) -> Sequence[Line]:
    """Return the lines from the application on: those that a server has called, or we have."""
    for i in range(len(lines), 0, -1):
        file, _, function = lines[i - 1]
        if function not in _FOR_APPLICATIONS and is_servers(file):
            return lines[i:] or lines
    return lines


def where(lines: Sequence[Line], note: str = "") -> str | None:
    """Return what a request is doing, in one line: the innermost line of the application's own
    code, or without one the innermost of all. None if there are no lines.

    Args:
        lines: of its stack, the innermost last.
        note: what else is to be said of it.
    """
    inner = within_request(lines)
    if not inner:
        return None
    own = next((line for line in reversed(inner) if is_own(line[0])), inner[-1])
    return describe(own, note)


def describe(line: Line, note: str = "") -> str:
    """Return FILE:LINE in FUNCTION, in at most ROOM bytes; a long path loses its begin."""
    file, number, function = line
    tail = f":{number} in {printable(function[:MOST_FUNCTION])}"
    tail = _first(tail, ROOM - len(note.encode())) + note
    return _last(printable(file[-MOST_FILE:]), ROOM - len(tail.encode())) + tail


def show(lines: Sequence[Line]) -> list[str]:
    """Return a stack as a traceback has it, line by line, without the source."""
    shown = [_shown(line) for line in lines[-MOST_LINES:]]
    if len(lines) > MOST_LINES:
        shown.insert(0, f"  ... {len(lines) - MOST_LINES} more")
    folded: list[str] = []
    for line, same in groupby(shown):
        folded.append(line)
        more = sum(1 for _ in same) - 1
        if more:
            folded.append(f"  [the line above {more} more times]")
    return folded


def _shown(line: Line) -> str:
    file, number, function = line
    name = printable(function[:MOST_FUNCTION])
    return f'  File "{printable(file[-MOST_FILE:])}", line {number}, in {name}'


def _first(text: str, size: int) -> str:
    """Return as much of the begin of a text as has this size, in bytes."""
    return text.encode()[: max(size, 0)].decode(errors="ignore")


def _last(text: str, size: int) -> str:
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    room = size - len(CUT.encode())
    return CUT + encoded[-room:].decode(errors="ignore") if room > 0 else ""


@lru_cache(maxsize=1024)
def is_own(file: str) -> bool:
    """Tell whether a file is the application's own: outside the folders of the interpreter and of
    the packages."""
    if file.startswith("<frozen "):
        return False
    folders = file.split("/")[:-1]
    return _PACKAGES.isdisjoint(folders) and not file.startswith(_folders())


@lru_cache(maxsize=1024)
def is_servers(file: str) -> bool:
    """Tell whether a file is of what calls an application: gunicorn's workers, or this package's
    wrappers."""
    return file.startswith(_callers())


@cache
def _folders() -> tuple[str, ...]:
    """Return the folders of the interpreter and of this package, and gunicorn's, which may be
    installed for editing."""
    version = "python{}.{}".format(*sys.version_info)
    folders = [
        Path(os.__file__).parent,
        Path(sys.base_exec_prefix, sys.platlibdir, version),  # of the extension modules
        Path(sys.executable).parent,
        Path(_OURS),
        Path(_gunicorns()),
    ]
    return tuple({f"{path}/" for folder in folders for path in (folder, folder.resolve())})


@cache
def _callers() -> tuple[str, ...]:
    ours = ("worker_classes/", "counting/", "status/expose.py", "middleware.py")
    return (*(f"{_OURS}/{name}" for name in ours), f"{_gunicorns()}/workers/")


def _gunicorns() -> str:
    module: Any = sys.modules.get("gunicorn")
    return str(Path(module.__file__).absolute().parent) if module else _OURS


def load() -> None:
    """Find the folders, before a look needs them."""
    _folders()
    _callers()
