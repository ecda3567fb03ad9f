"""The settings: one frozen dataclass, filled from keywords and RAINDROPS_* variables, checked.

Each field's metadata says what the setting takes, in the words of the error message.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import environment
from ._native._scoreboard import lib
from .listeners import addresses
from .listeners.addresses import Address
from .shm import Struct

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SWITCH = "on or off (also 1/0, true/false, yes/no)"
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}
_MAX_WORKERS: int = lib.GRD_MAX_SLOTS
_LONGEST_SHOWN = 200  # characters of a wrong value
_MOST_SATURATED = 1000
_LEAST_SLOW, _MOST_SLOW = 0.1, 86400
_MOST_MODE = 0o777


def _check_bind(value: Any) -> str:
    bind = _string(value).strip()
    addresses.parse_bind(bind)
    return bind


def _check_mode(value: Any) -> int:
    if isinstance(value, str):
        value = int(value.strip().removeprefix("0o"), 8)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if not 0 <= value <= _MOST_MODE:
        raise ValueError
    return value


def _check_path(value: Any) -> str:
    path = _string(value).strip()
    if not re.fullmatch(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+", path):
        raise ValueError
    return path


def _check_switch(value: Any) -> bool:
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    word = _string(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def _items(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise TypeError
    return tuple(item for item in (_string(item).strip() for item in value) if item)


def _check_allow(value: Any) -> tuple[str, ...]:
    allowed = _items(value)
    for item in allowed:
        if item != "unix":
            ipaddress.ip_network(item)
    return allowed


def _check_token(value: Any) -> str | None:
    if value is None or value == "":
        return None
    # RFC 6750, section 2.1: what may follow "Bearer "
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", _string(value)):
        raise ValueError
    return str(value)


def _check_listeners(value: Any) -> tuple[str, ...]:
    return () if value is None else tuple(map(_listener, _items(value)))


def _listener(item: str) -> str:
    # a relative path must say that it is one: unix:run/app.sock
    if "/" in item and not item.startswith(("/", "@", "unix:")):
        raise ValueError
    return addresses.parse_listener(item)


def _check_file(value: Any) -> str | None:
    if value is None or value == "":
        return None
    path = os.fsdecode(value)
    if "\0" in path:
        raise ValueError
    return path


def _check_ready(value: Any) -> str | None:
    return None if value is None or value == "" else _check_path(value)


def _check_ready_above(value: Any) -> float | None:
    return _number(value, 0, _MOST_SATURATED)


def _check_slow(value: Any) -> float | None:
    return _number(value, _LEAST_SLOW, _MOST_SLOW)


def _number(value: Any, least: float, most: float) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    number = float(value)
    if not least <= number <= most:
        raise ValueError
    return number


def _check_max_workers(value: Any) -> int:
    if isinstance(value, str):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if not 1 <= value <= _MAX_WORKERS:
        raise ValueError
    return value


def _check_counters(value: Any) -> str | Struct | None:
    if value is None or isinstance(value, Struct):
        return value
    named = _string(value).strip()
    module, colon, name = named.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if named and not (colon and all(part.isidentifier() for part in parts)):
        raise ValueError
    return named or None


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _setting(default: Any, check: Callable[[Any], Any], takes: str, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"check": check, "takes": takes})


@dataclass(frozen=True)
class Settings:
    """What the user set; docs/settings.md has what each means."""

    bind: str = _setting(
        "127.0.0.1:9180",
        _check_bind,
        "host:port, [v6]:port, unix:/path (107 bytes at most), or nothing for none",
    )
    mode: int = _setting(
        0o600, _check_mode, "permissions in octal digits such as 0660, or a number such as 0o660"
    )
    path: str = _setting("/_raindrops", _check_path, "a path such as /_raindrops, not / alone")
    expose: bool = _setting(False, _check_switch, _SWITCH)
    allow: tuple[str, ...] = _setting(
        ("127.0.0.1", "::1"),
        _check_allow,
        "networks such as 10.0.0.0/8 or ::1, or unix, separated by commas",
    )
    token: str | None = _setting(
        None,
        _check_token,
        "letters, digits and -._~+/ (= at the end), as a bearer token may have",
        secret=True,
    )
    listeners: tuple[str, ...] = _setting(
        (),
        _check_listeners,
        "addresses such as 127.0.0.1:80, [::1]:80, /run/nginx.sock or @name, separated by commas",
    )
    file: str | None = _setting(None, _check_file, "a path")
    max_workers: int = _setting(
        1024, _check_max_workers, f"a whole number from 1 to {_MAX_WORKERS}"
    )
    current: bool = _setting(True, _check_switch, _SWITCH)
    slow: float | None = _setting(
        None,
        _check_slow,
        f"seconds from {_LEAST_SLOW} to {_MOST_SLOW}, such as 10, or nothing for none",
    )
    defer_accept: bool = _setting(False, _check_switch, _SWITCH)
    queue_header: bool = _setting(False, _check_switch, _SWITCH)
    ready: str | None = _setting(
        None, _check_ready, "a path such as /ready, not / alone, or nothing for none"
    )
    ready_above: float | None = _setting(
        None,
        _check_ready_above,
        f"a number from 0 to {_MOST_SATURATED}, such as 1.5, or nothing for no limit",
    )
    counters: str | Struct | None = _setting(  # noqa: RUF009  # a field, as the others are
        None, _check_counters, "a Struct, or module:name of one, such as myapp.stats:stats"
    )

    @property
    def address(self) -> Address | None:
        """Where the status thread listens; None for nowhere."""
        return addresses.parse_bind(self.bind)

    @property
    def networks(self) -> tuple[Network, ...]:
        """What of `allow` is a network."""
        return tuple(ipaddress.ip_network(item) for item in self.allow if item != "unix")

    @property
    def allows_unix(self) -> bool:
        """Whether peers of a unix listener may read an exposed status."""
        return "unix" in self.allow

    @property
    def host(self) -> str | None:
        """The host of a TCP status address, in small letters; None where it is none."""
        if self.address is None or self.address[0] == socket.AF_UNIX:
            return None
        return str(self.address[1][0]).lower()

    @property
    def is_local(self) -> bool:
        """Whether the status address can be reached from this machine only."""
        if self.host is None:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def load(keywords: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Return the settings from keywords, which win, and RAINDROPS_* variables.

    Raises:
        ValueError: one of them is wrong; the message, one line, names it and what it takes.
    """
    fields = {setting.name: setting for setting in dataclasses.fields(Settings)}
    for name in keywords:
        if name not in fields:
            raise ValueError(f"unknown setting {name!r}; the settings are {', '.join(fields)}")
    values = {}
    for name, setting in fields.items():
        variable = environment.variable(name)
        if name in keywords:
            values[name] = _check(setting, name, keywords[name])
        elif variable in environ:
            values[name] = _check(setting, variable, environ[variable])
    if "token" not in keywords and (token := environment.token(environ)) is not None:
        values["token"] = _check(fields["token"], environment.TOKEN_FILE, token)
    return Settings(**values)


def unknown(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each RAINDROPS_* variable that is no setting."""
    return environment.unknown(environ, (field.name for field in dataclasses.fields(Settings)))


def _check(setting: dataclasses.Field[Any], name: str, value: Any) -> Any:
    try:
        return setting.metadata["check"](value)
    except (ValueError, TypeError):
        shown = _shorten(repr(value)) if setting.repr else "the given value"
        raise ValueError(f"{name}: {shown} is not {setting.metadata['takes']}") from None
