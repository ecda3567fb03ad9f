"""What a terminal sends, as keys. Pure."""

from __future__ import annotations

import codecs
import re

_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end",
    "\x1b": "escape", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace",
    "\x15": "clear",
}  # fmt: skip

# ECMA-48: CSI, its parameters and intermediates, a final byte; SS3 and a letter.
_KEY = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO[@-~]|.", re.DOTALL)


class Keys:
    """Takes bytes as they come; a letter's may come in pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def of(self, data: bytes) -> list[str]:
        """Return the keys: a letter as itself, others by name; unknown ones are left out."""
        found = (_name(key) for key in _KEY.findall(self._decoder.decode(data)))
        return [key for key in found if key]


def _name(key: str) -> str:
    return _NAMES.get(key) or (key if len(key) == 1 and key.isprintable() else "")
