"""What the subcommands have in common: how they end, and how they write to a terminal."""

from __future__ import annotations

import io
import locale
import os
import shutil
import signal
import sys
import unicodedata
from collections.abc import Callable

from ..exporters.printable import escape, printable

PIPE_WIDTH = 200
"""Columns of a line where there is no terminal."""


class Failed(Exception):
    """What a command cannot do, in one line for its user."""


class Signalled(BaseException):
    """A signal came that ends the command. A server goes on after an Exception that a request's
    begin raises."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def end(number: int, _: object) -> None:
    """Handle a signal that ends the command, in the main thread, wherever that is. The command is
    ending then: later ones do nothing, or they would break off what it does at its end."""
    ignore_endings()
    raise KeyboardInterrupt if number == signal.SIGINT else Signalled(number)


def ignore_endings() -> None:
    """Ignore the signals that `end` handles. One may wait for its handler already; Python would
    complain if it found SIG_IGN there."""
    for number in _ENDING:
        if signal.getsignal(number) is end:
            signal.signal(number, _ignore)


def _ignore(*_: object) -> None:
    """Handle a signal."""


def outcome(command: Callable[[], object]) -> int:
    """Run a command and return its exit status: 1 for an error, which is one line on stderr; 130
    for Ctrl-C and 128 and its number for another signal, as a shell has it; 0 for a closed pipe."""
    before = signal.getsignal(signal.SIGINT)
    try:
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, end)
        return _run(command)
    except KeyboardInterrupt:
        return 130
    except Signalled as signalled:
        return 128 + signalled.number
    finally:
        if signal.getsignal(signal.SIGINT) is end:
            signal.signal(signal.SIGINT, before)


def _run(command: Callable[[], object]) -> int:
    if sys.stdout is None:  # closed before the start
        return 0
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name may have letters that its encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        command()
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
    except (OSError, Failed) as error:
        complain(error)
        _flush()
        return 1
    return 0


def complain(message: object) -> None:
    """Write one line to stderr."""
    if sys.stderr is not None:
        print(f"gunicorn-raindrops: {printable(str(message))}", file=sys.stderr)


def _flush() -> None:
    """Write what is buffered, if it can be; Python complains at exit of what cannot."""
    try:
        sys.stdout.flush()
    except OSError:
        _forget_output()


def _forget_output() -> None:
    """Drop what is buffered; it would be written to the closed pipe at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Page:
    """Writes lines to stdout, each cut to the width of the terminal, in letters that it has."""

    def __init__(self) -> None:
        self._width = shutil.get_terminal_size((PIPE_WIDTH, 0)).columns
        self._is_ascii = not has_unicode()

    def line(self, text: str) -> None:
        """Write one line, whatever is in the text."""
        print(fit(text, self._width, is_ascii=self._is_ascii))


def has_unicode() -> bool:
    """Tell whether more than ASCII can be shown. In the locale C Python writes UTF-8 all the same
    (PEP 540), and the terminal may not know it."""
    encoding = sys.stdout.encoding or "utf-8"  # an object that takes text has none
    is_c = locale.setlocale(locale.LC_CTYPE) in ("C", "POSIX")
    return not is_c and encoding.lower().replace("-", "") == "utf8"


def fit(text: str, width: int, *, is_ascii: bool) -> str:
    """Return a text as one line of at most `width` columns.

    Args:
        text: whatever it is, what is not printable is escaped.
        width: columns.
        is_ascii: so is what else has no letter in ASCII.
    """
    cells: list[str] = []
    left = width
    for character in text:
        cell = _cell(character, is_ascii)
        left -= _columns(cell)
        if left < 0:
            return _cut(cells, width, "..." if is_ascii else "\u2026")
        cells.append(cell)
    return "".join(cells)


def _cut(cells: list[str], width: int, mark: str) -> str:
    while cells and sum(map(_columns, cells)) + len(mark) > width:
        cells.pop()
    return "".join(cells) + mark[: max(0, width)]


def _cell(character: str, is_ascii: bool) -> str:
    if is_ascii and not character.isascii():
        return escape(character)
    return printable(character)


def columns(text: str) -> int:
    """Return how many columns a terminal gives to a text that `fit` has returned."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(cell: str) -> int:
    """Return how many columns a terminal gives to a character, or to its escape."""
    if cell.isascii():
        return len(cell)
    if unicodedata.combining(cell):
        return 0
    return 2 if unicodedata.east_asian_width(cell) in "WF" else 1
