"""Addresses as text: every parser of them, and their text.

There are three kinds: `127.0.0.1:80`, `[::1]:80`, and names of unix sockets, a path or `@name` for
an abstract one. Where only one kind can be meant the text says so: `unix:/path`. Names that are not
UTF-8 have surrogate escapes, as everywhere in `os`.
"""

from __future__ import annotations

import os
import re
from _socket import AF_INET, AF_INET6, AF_UNIX, inet_ntop, inet_pton
from functools import lru_cache
from typing import Any

LONGEST_PATH = 107  # bytes: sun_path without its NUL, unix(7)
LAST_PORT = 65535

Address = tuple[int, Any]
"""A socket family, and the address to bind a socket of it to."""
Key = tuple[int, int, bytes]
"""Family, port and packed address."""

_UNIX = "unix:"
_HOST = re.compile(r"[A-Za-z0-9._-]+")


# What is listened on.


def parse_bind(value: str) -> Address | None:
    """Return what `host:port`, `[v6]:port` or `unix:/path` names; None for an empty text.

    Raises:
        ValueError: it is none of them.
    """
    if not value:
        return None
    if value.startswith(_UNIX):
        path = value.removeprefix(_UNIX)
        check_length(path)
        return AF_UNIX, path
    host, _, port = value.rpartition(":")
    number = _port(port)
    if host.startswith("[") and host.endswith("]"):
        _pack(AF_INET6, host[1:-1])
        return AF_INET6, (host[1:-1], number)
    if not _HOST.fullmatch(host):
        raise ValueError(f"malformed host {host!r}")
    return AF_INET, (host, number)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= LAST_PORT):
        raise ValueError(f"malformed port {text!r}")
    return int(text)


def check_length(path: str) -> None:
    """Raise ValueError for a name that no unix socket can be bound to."""
    if not 0 < len(os.fsencode(path)) <= LONGEST_PATH or "\0" in path:
        raise ValueError(f"malformed path {path!r}: expected 1 to {LONGEST_PATH} bytes, no NUL")


# Which listener is meant.


def parse_listener(value: str) -> str:
    """Return the address of a listener, of any kind, without `unix:`.

    Raises:
        ValueError: it is malformed, or no listener can have it: a port 0, a host's name.
    """
    address = value.removeprefix(_UNIX)
    if address == value and not _is_unix(address):
        try:
            parse_tcp(address)
        except ValueError as error:
            raise ValueError(f"{error}, a path or '@' and a name") from None
        return address
    check_length(address)
    if family_of(address) != AF_UNIX:
        raise ValueError(f"{address!r} reads like an address with a port: write ./{address}")
    return address


def _is_unix(address: str) -> bool:
    return "/" in address or address.startswith("@")


def family_of(address: str) -> int:
    """Return the family of an address that `parse_listener` returned."""
    if _is_unix(address) or ":" not in address:
        return AF_UNIX
    return AF_INET6 if address.startswith("[") else AF_INET


def name_of(family: int, address: Any) -> str:
    """Return a listener's address as the status shows it, from what getsockname() gives."""
    if family == AF_INET6:
        return f"[{address[0]}]:{address[1]}"
    if family == AF_INET:
        return f"{address[0]}:{address[1]}"
    return unix_text(address) if isinstance(address, bytes) else str(address)


# TCP, as the kernel knows it: by number.


@lru_cache(maxsize=4096)
def parse_tcp(address: str) -> Key:
    """Return the family, port and packed address of `127.0.0.1:80` or `[::1]:80`.

    Raises:
        ValueError: it is neither.
        TypeError: it is not a string.
    """
    if not isinstance(address, str):
        raise TypeError(f"an address must be a string, not {type(address).__name__}")
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    family = AF_INET6 if bracketed else AF_INET
    try:
        key = family, _port(port), _pack(family, host[1:-1] if bracketed else host)
    except ValueError:
        raise _malformed(address) from None
    if key[1] == 0:  # no listener has it
        raise _malformed(address)
    return key


def _pack(family: int, host: str) -> bytes:
    """Pack an address; a scope (`fe80::1%eth0`) is no part of it.

    Raises:
        ValueError: it is none.
    """
    try:
        return inet_pton(family, host.partition("%")[0] if family == AF_INET6 else host)
    except OSError:
        raise ValueError(f"malformed address {host!r}") from None


def _malformed(address: str) -> ValueError:
    return ValueError(
        f"malformed address {address!r}: expected IPv4:PORT like '127.0.0.1:80' "
        "or [IPv6]:PORT like '[::1]:80', with a port from 1 to 65535"
    )


def tcp_text(key: Key) -> str:
    """Return the address as `parse_tcp` takes it."""
    family, port, packed = key
    host = inet_ntop(family, packed)
    return f"[{host}]:{port}" if family == AF_INET6 else f"{host}:{port}"


# Unix, as the kernel knows it: by the bytes of sun_path.


def check_unix(path: str) -> None:
    """Raise ValueError or TypeError for what is neither a path nor an abstract name."""
    if not isinstance(path, str):
        raise TypeError(f"a path must be a string, not {type(path).__name__}")
    if not path or ("\0" in path and not path.startswith("@")) or not _encodable(path):
        raise ValueError(f"malformed path {path!r}: expected a path or '@' and an abstract name")


def _encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return False
    return True


def sun_path(name: str) -> bytes:
    """Return what was given to bind(2); an abstract name begins with NUL there."""
    raw = os.fsencode(name)
    return b"\0" + raw[1:] if raw.startswith(b"@") else raw


def unix_text(name: bytes) -> str:
    """Return a name as `sun_path` takes it."""
    return os.fsdecode(b"@" + name[1:] if name.startswith(b"\0") else name)
