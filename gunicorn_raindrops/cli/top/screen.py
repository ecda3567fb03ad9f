"""The terminal: taken over, drawn on, and left as it was.

A signal that ends the command raises in the main thread, wherever that is, so a terminal that takes
no output does not hold it up; SIGINT does so in Python anyway. Other signals only wake the loop. A
byte in a pipe wakes it, which Python writes for a signal, and the reader for its news.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from typing import Any

from ..terminal import Failed, Signalled, end, ignore_endings
from .keys import Keys

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # another screen, without cursor and line breaks: xterm's
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_CLEAR = "\x1b[0m\x1b[2J"

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_WAKING = (signal.SIGWINCH, signal.SIGCONT, signal.SIGTSTP)


def check() -> None:
    """Check that there is a terminal.

    Raises:
        Failed: there is none.
    """
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failed("top needs a terminal; status shows the same once")
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise Failed("top needs a terminal whose cursor can be moved (TERM)")


class Screen:
    """A terminal to draw on; use it in `with`."""

    def __init__(self) -> None:
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._keys = Keys()
        self._came: set[int] = set()
        self._drawn: list[str] = []
        self._size = (0, 0)
        self._woken, self._waking = os.pipe()
        for fd in (self._woken, self._waking):
            os.set_blocking(fd, False)

    def __enter__(self) -> Screen:
        """Take it over."""
        self._before = termios.tcgetattr(self._in)
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        handlers = dict.fromkeys(_ENDING, end) | dict.fromkeys(_WAKING, self._note)
        self._handlers = {number: signal.getsignal(number) for number in _WAKING}
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it was, whatever comes meanwhile. The command ends after this, so the signals
        that would end it stay ignored."""
        try:
            ignore_endings()
            for number in _WAKING:
                signal.signal(number, signal.SIG_IGN)
        finally:  # one may have come right then
            with contextlib.suppress(OSError, termios.error):  # it may be gone
                self._give_back()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: Any) -> None:
        self._came.add(number)

    def _take(self) -> None:
        tty.setcbreak(self._in, termios.TCSANOW)
        self._write(_ENTER)

    def _give_back(self) -> None:
        termios.tcflow(self._out, termios.TCOON)  # Ctrl-S may have stopped it
        termios.tcflush(self._in, termios.TCIFLUSH)  # keys that were meant for us
        self._write(_LEAVE)
        termios.tcsetattr(self._in, termios.TCSANOW, self._before)

    @staticmethod
    def size() -> tuple[int, int]:
        """Return its width and height."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return columns or 80, lines or 24

    def wake(self) -> None:
        """Have `wait` return; any thread may call this."""
        with contextlib.suppress(BlockingIOError):  # it is full: that wakes, too
            os.write(self._waking, b"\0")

    def wait(self, seconds: float) -> list[str]:
        """Wait for a key, a signal, `wake`, or until some seconds have passed; return the keys.

        Raises:
            Signalled: the terminal is gone.
        """
        ready, _, _ = select.select([self._in, self._woken], [], [], seconds)
        if self._woken in ready:
            os.read(self._woken, 4096)
        self._obey()
        return self._read() if self._in in ready else []

    def _read(self) -> list[str]:
        try:
            data = os.read(self._in, 4096)
        except OSError:  # EIO: nobody is at the other end
            data = b""
        if not data:
            raise Signalled(signal.SIGHUP)
        return self._keys.of(data)

    def _obey(self) -> None:
        came, self._came = self._came, set()
        if signal.SIGTSTP in came:
            self._suspend()
        elif signal.SIGCONT in came:  # after a SIGSTOP; a shell has set the terminal meanwhile
            tty.setcbreak(self._in, termios.TCSANOW)
            self._drawn = []

    def _suspend(self) -> None:
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # returns at SIGCONT
        signal.signal(signal.SIGTSTP, self._note)
        self._came.discard(signal.SIGCONT)
        self._take()
        self._drawn = []

    def draw(self, lines: list[str], size: tuple[int, int]) -> None:
        """Show lines, each as wide as the screen; only those that have changed are written."""
        if size != self._size or len(lines) != len(self._drawn):
            self._drawn, self._size = [""] * len(lines), size
            text = _CLEAR
        else:
            text = ""
        for at, (line, before) in enumerate(zip(lines, self._drawn, strict=True)):
            if line != before:
                text += f"\x1b[{at + 1};1H{line}"
        self._write(text)
        self._drawn = lines

    def _write(self, text: str) -> None:
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(self._out, data) :]
