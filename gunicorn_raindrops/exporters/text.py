"""A snapshot as the original's text, a line a figure. Pure: no I/O, no clock."""

from __future__ import annotations

from ..snapshot import Snapshot


def encode(snapshot: Snapshot) -> bytes:
    """Return the original's format, then how many wait inside and the user's own counters; a figure
    that is not known has no line."""
    lines = [f"calling: {snapshot.calling}", f"writing: {snapshot.writing}"]
    for listener in snapshot.listeners:
        for name, figure in (("active", listener.active), ("queued", listener.queued)):
            if figure is not None:
                lines.append(f"{_printable(listener.address)} {name}: {figure}")
    if snapshot.waiting is not None:
        lines.append(f"waiting: {snapshot.waiting}")
    lines += [f"counters.{counter.name}: {counter.value}" for counter in snapshot.counters or ()]
    return "".join(f"{line}\n" for line in lines).encode()


def _printable(address: str) -> str:
    """Return an address in one line, without what could steer a terminal. Bytes that are not
    UTF-8 are shown by their escapes, too."""
    return "".join(c if c.isprintable() else _escape(c) for c in address)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte, by surrogateescape
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
