"""The header of a scoreboard's memory, and what may stand in a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .._native._scoreboard import ffi, lib

NAME = "gunicorn-raindrops"
"""Of an unnamed file, as /proc/PID/fd shows it."""
MAGIC = b"raindrop"
VERSION: int = lib.GRD_LAYOUT_VERSION
HEADER_SIZE: int = lib.GRD_HEADER_SIZE
SLOT_SIZE: int = lib.GRD_SLOT_SIZE
MAX_SLOTS: int = lib.GRD_MAX_SLOTS

_VERSION = VERSION.to_bytes(4, sys.byteorder)
_CHUNK = 1 << 20


def length_of(slots: int) -> int:
    """Return how long the memory of so many slots is, in bytes."""
    return HEADER_SIZE + slots * SLOT_SIZE


def boot_id() -> bytes:
    """Return the kernel's name of this boot; nothing where it gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()[:36]
    except OSError:
        return b""


def slots_of(fd: int, file: str) -> int:
    """Return how many slots a scoreboard file has, 0 for one that is empty or not yet begun.

    Raises:
        ValueError: it is not a scoreboard, or one of another format.
    """
    header = ffi.new("struct grd_header *")
    size = os.fstat(fd).st_size
    if _is_unbegun(fd, size):
        return 0
    found = os.pread(fd, ffi.sizeof("struct grd_header"), 0)
    ffi.memmove(header, found, len(found))
    if ffi.buffer(header.magic)[:] != MAGIC:
        raise ValueError(f"{file} is not a scoreboard")
    if (header.version, header.header_size, header.slot_size) != (VERSION, HEADER_SIZE, SLOT_SIZE):
        raise ValueError(
            f"{file} is a scoreboard of format {header.version}, this is format {VERSION}"
        )
    if not 0 < header.slots <= min((size - HEADER_SIZE) // SLOT_SIZE, MAX_SLOTS):
        raise ValueError(f"{file} is a damaged scoreboard: {size} bytes, {header.slots} slots")
    return int(header.slots)


def _is_unbegun(fd: int, size: int) -> bool:
    """Tell whether a file is as a process leaves it that was killed before it had made the header.

    The magic is stored last. So there are zeros everywhere but in the header's first words."""
    if size > length_of(MAX_SLOTS):
        return False
    page = os.pread(fd, HEADER_SIZE, 0)
    begin, end = len(MAGIC), ffi.offsetof("struct grd_header", "used")
    words = page[begin:end]
    if words.strip(b"\0") and words[: len(_VERSION)] != _VERSION:
        return False
    if (page[:begin] + page[end:]).strip(b"\0"):
        return False
    return all(not os.pread(fd, _CHUNK, at).strip(b"\0") for at in range(HEADER_SIZE, size, _CHUNK))
