"""The status address, as an arbiter has it: opened when the server is ready, moved at a HUP, closed
at the end.

The arbiter does all of it, before it forks. What its workers get is the listener (see `listener`).
It is there also where the address is taken: a worker tries to open it again, and so does a HUP.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from typing import Any

from ..settings import Settings
from .listener import File, StatusListener, same_port

_WHO_HAS_IT = " (`gunicorn-raindrops status` shows other servers, `ss -ltnxp` who listens)"


class StatusAddress:
    """The status address of one arbiter.

    Args:
        warn: called with a line for an address that cannot be listened on, or needs a token.
        info: a logger's info, for the address in use.

    Attributes:
        listener: the listener, open or not yet; None: there is no status address.
    """

    def __init__(self, warn: Callable[[str], None], info: Callable[..., None]) -> None:
        self._warn = warn
        self._info = info
        self.listener: StatusListener | None = None

    @property
    def open_listener(self) -> StatusListener | None:
        """The listener, if it is open."""
        return self.listener if self.listener is not None and self.listener.is_open else None

    def inherit(self, settings: Settings, sock: Any, file: File | None) -> None:
        """Go on with the open socket of an earlier arbiter."""
        self.listener = StatusListener(settings, sock, file)
        self.listener.close_in_children()

    def open(self, settings: Settings) -> None:
        """Listen on `bind`, unless it is empty, or go on with the listener that there is."""
        if settings.address is None:
            return
        if self.listener is None:
            self.listener = StatusListener(settings)
            self.listener.close_in_children()
        if not self.listener.is_open and not self._try_to_open(self.listener):
            return
        if not settings.is_local and settings.token is None:
            self._warn(f"bind: {settings.bind} can be reached from other machines; set a token")
        self._info("gunicorn-raindrops: status at %s", self.listener.url)

    def _try_to_open(self, listener: StatusListener) -> bool:
        try:
            listener.open()
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            self._warn(
                f"bind: {listener.bind} cannot be listened on: {error}; "
                f"no status there until it can be{_WHO_HAS_IT if taken else ''}"
            )
            return False
        return True

    def reload(self, old: Settings, settings: Settings, alone: bool) -> Settings:
        """Take over new settings; where their address cannot be listened on, keep the old one.

        Args:
            old: the settings until now.
            settings: the new ones.
            alone: no other generation of this server listens on the present address.

        Returns:
            the new settings, with the `bind` of the address that was kept.
        """
        if old.bind != settings.bind:
            return self._move(old, settings, alone)
        if (listener := self.open_listener) is not None:
            listener.set_mode(settings.mode)
        else:  # perhaps it is free by now
            self.open(settings)
        return settings

    def _move(self, old: Settings, settings: Settings, alone: bool) -> Settings:
        before, self.listener = self.listener, None
        if before is not None and alone and same_port(old.address, settings.address):
            before.close()
            before = None
        self.open(settings)
        if before is None:
            return settings
        if self.listener is not None and before.is_open and not self.listener.is_open:
            self.listener.close()
            self.listener = before
            return dataclasses.replace(settings, bind=old.bind)
        if alone:
            before.close()
        return settings

    def close(self) -> None:
        """Listen no more, in no process."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None
