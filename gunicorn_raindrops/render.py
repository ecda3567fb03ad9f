"""A Snapshot as bytes: text and JSON. Pure: no I/O, no clock, nothing but its argument."""

from __future__ import annotations

import json as _json
from typing import Any

from .snapshot import CLASSES, Listener, Snapshot, Worker
from .user_counters import UserCounter


def text(snapshot: Snapshot) -> bytes:
    """Return the original's format, then the user's own counters; a figure that is not known has
    no line."""
    lines = [f"calling: {snapshot.calling}", f"writing: {snapshot.writing}"]
    for listener in snapshot.listeners:
        for name in ("active", "queued"):
            figure = getattr(listener, name)
            if figure is not None:
                lines.append(f"{listener.address} {name}: {figure}")
    lines += [f"counters.{counter.name}: {counter.value}" for counter in snapshot.counters or ()]
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def json(snapshot: Snapshot) -> bytes:
    """Return everything, as one JSON object; null for what is not known."""
    return _json.dumps(as_dict(snapshot), indent=1).encode() + b"\n"


def as_dict(snapshot: Snapshot) -> dict[str, Any]:
    """Return everything, as JSON's types."""
    arbiter = snapshot.arbiter
    return {
        "version": 1,
        "time": snapshot.time,
        "uptime": snapshot.uptime,
        "arbiter": {
            "pid": arbiter.pid,
            "gunicorn": arbiter.gunicorn,
            "raindrops": arbiter.raindrops,
            "worker_class": arbiter.worker_class,
        },
        "calling": snapshot.calling,
        "writing": snapshot.writing,
        "websockets": snapshot.websockets,
        "requests": snapshot.requests,
        "responses": _by_class(snapshot.responses),
        "errors": snapshot.errors,
        "capacity": snapshot.capacity,
        "utilization": snapshot.utilization,
        "saturation": snapshot.saturation,
        "scoreboard": snapshot.scoreboard,
        "request_seconds": None,
        "queue_seconds": None,
        "workers": _workers(snapshot.workers),
        "untracked": snapshot.untracked,
        "exits": None,
        "listeners": [_listener(listener) for listener in snapshot.listeners],
        "counters": _counters(snapshot.counters),
    }


def _by_class(responses: tuple[int, ...] | None) -> dict[str, int] | None:
    return None if responses is None else dict(zip(CLASSES, responses, strict=True))


def _workers(workers: tuple[Worker, ...] | None) -> list[dict[str, Any]] | None:
    return None if workers is None else [_worker(worker) for worker in workers]


def _counters(counters: tuple[UserCounter, ...] | None) -> dict[str, int] | None:
    return None if counters is None else {one.name: one.value for one in counters}


def _worker(worker: Worker) -> dict[str, Any]:
    return {
        "slot": worker.slot,
        "pid": worker.pid,
        "age": worker.age,
        "state": worker.state,
        "calling": worker.calling,
        "writing": worker.writing,
        "websockets": worker.websockets,
        "requests": worker.requests,
        "busy_seconds": None,
        "started": worker.started,
        "current": None,
    }


def _listener(listener: Listener) -> dict[str, Any]:
    return {
        "address": listener.address,
        "family": listener.family,
        "active": listener.active,
        "queued": listener.queued,
        "backlog": listener.backlog,
        "dropped": listener.dropped,
    }
