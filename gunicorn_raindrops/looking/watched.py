"""The slots of middlewares in this process, at which a status thread looks, if there is one."""

from __future__ import annotations

from .flight import Finder
from .looker import Held, Looker

_lookers: list[Looker] = []


def watch(held: Held, finder: Finder) -> None:
    """Have the requests of a slot looked at that take long. In a child the slot has none."""
    _lookers.append(Looker(held, finder, keep=_nobody))


def look() -> None:
    """Look at the requests of all these slots."""
    for looker in list(_lookers):
        looker.look()


def _nobody(line: str) -> None:
    """There is no server whose log this could be."""
