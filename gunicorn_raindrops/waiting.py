"""How many requests wait inside: accepted by the server, but read by nobody yet.

gthread accepts far more connections than it has threads, and a blocked event loop leaves what it
has accepted unread. Both show in the kernel: an established connection with unread bytes. But not
every such connection waits. A request in flight may have left some of its body unread, or its
client may have sent the next request already. The kernel does not say which is which, so the count
is what three limits leave:

- A request in flight, an open websocket and a connection that a thread holds (see `reading` of a
  snapshot) each have a connection of their own, which does not wait. So no more can wait than the
  active ones less these. This alone is exact where no connection is idle, and where nobody uploads.
- Where a request holds a thread (sync, gthread), a request waits only while some worker has no
  thread free. Else the unread bytes belong to requests in flight, as far as there are any.
- Unread bytes that are more than a head of a request are a body's. As far as there are connections
  with so many, each request in flight is taken to have one: an upload under way.

What is told wrong, while a worker is full (or has no threads) and some connections are idle: a
request in flight with few unread bytes is taken for one that waits; and one that waits with a long
body may be taken for an upload under way. The error is never more than the requests in flight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from .scoreboard import board
from .scoreboard.records import SlotRecord
from .snapshot import Listener

SERVING = (board.READY, board.FINISHING)


def count(listeners: Iterable[Listener], rows: Iterable[SlotRecord]) -> int | None:
    """Return how many requests wait inside; None if it is not known.

    Args:
        listeners: those of the server are looked at. `waiting` is still what the kernel tells.
        rows: the workers. They may have been read a moment later.
    """
    own = [one for one in listeners if one.own]
    active = _sum(one.active for one in own)
    unread = _sum(one.waiting for one in own)
    bodies = _sum(one.bodies for one in own)
    if not own or active is None or unread is None or bodies is None:
        return None
    return _count(active, unread, bodies, tuple(rows))


def _sum(figures: Iterable[int | None]) -> int | None:
    known = list(figures)
    return None if None in known else sum(figure or 0 for figure in known)


def _count(active: int, unread: int, bodies: int, rows: tuple[SlotRecord, ...]) -> int:
    inside = sum(map(_in_flight, rows))
    of_inside = min(bodies, inside) if any(map(_may_be_full, rows)) else inside
    most = active - sum(_held(row) + row.websockets for row in rows)
    return max(0, min(unread - of_inside, most))


def _in_flight(row: SlotRecord) -> int:
    return row.calling + row.writing


def _held(row: SlotRecord) -> int:
    return _in_flight(row) + (row.reading or 0)


def _may_be_full(row: SlotRecord) -> bool:
    """Tell whether a worker has no thread free. One whose requests hold no threads may block its
    loop at any time."""
    return row.state in SERVING and (row.reading is None or row.capacity <= _held(row))


def at_most(listener: Listener, waiting: int | None) -> Listener:
    """Return a listener; if it is the server's, with no more that wait than there are in all."""
    if not listener.own or listener.waiting is None or waiting is None:
        return listener
    return dataclasses.replace(listener, waiting=min(listener.waiting, waiting))
