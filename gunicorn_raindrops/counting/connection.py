"""The connections that a worker's threads have in hand, where a connection holds a thread.

One that is in hand without a request in flight is *reading*: its client is slow to send, or to
close. The native module remembers with each thread whether it holds one, and counts it in the slot
that this process has attached.
"""

from __future__ import annotations

from .._native._objects import count_connections as count
from .._native._objects import hold_connection as hold
from .._native._objects import leave_connection as leave

__all__ = ["count", "hold", "leave"]
