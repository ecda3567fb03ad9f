"""Text that others have chosen, in one line and without what could steer a terminal. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text with escapes for what is no printable character, as in Python's strings. Bytes
    that are not UTF-8 (surrogate escapes, as everywhere in `os`) are shown as bytes."""
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    return character if character.isprintable() else escape(character)


def escape(character: str) -> str:
    """Return the escape of a character."""
    if "\udc80" <= character <= "\udcff":  # a byte, by surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
