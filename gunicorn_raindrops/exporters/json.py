"""A Snapshot as bytes: text and JSON. Pure: no I/O, no clock, nothing but its argument."""

from __future__ import annotations

import json as _json
from collections.abc import Mapping
from typing import Any

from ..distribution import Distribution
from ..scoreboard.app_counters import UserCounter
from ..scoreboard.records import HEADER, SOCKET, KillRecord, Marks, RequestRecord
from ..snapshot import CLASSES, Listener, Snapshot, Worker


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
        "request_seconds": _durations(snapshot.request_seconds),
        "queue_seconds": _queue(snapshot),
        "busy_seconds": None if snapshot.busy_seconds is None else sum(snapshot.busy_seconds),
        "marks": _all_marks(snapshot.marks),
        "workers": _workers(snapshot.workers),
        "untracked": snapshot.untracked,
        "exits": None if snapshot.exits is None else dict(snapshot.exits),
        "killed": _all_killed(snapshot.killed),
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
        "busy_seconds": worker.busy_seconds,
        "started": worker.started,
        "current": _current(worker.current),
    }


def _current(current: RequestRecord | None) -> dict[str, Any] | None:
    if current is None:
        return None
    return {"method": current.method, "path": current.path, "seconds": current.seconds}


def _durations(durations: Distribution | None) -> dict[str, Any] | None:
    return None if durations is None else durations.as_dict()


def _all_killed(killed: tuple[KillRecord, ...] | None) -> list[dict[str, Any]] | None:
    return None if killed is None else [_killed(one) for one in killed]


def _all_marks(marks: Mapping[str, Marks | None] | None) -> dict[str, Any] | None:
    return None if marks is None else {window: _marks(most) for window, most in marks.items()}


def _marks(most: Marks | None) -> dict[str, int | None] | None:
    if most is None:
        return None
    return {"calling": most.calling, "writing": most.writing, "queued": most.queued}


def _queue(snapshot: Snapshot) -> dict[str, Any] | None:
    queues = snapshot.queue_seconds
    if queues is None:
        return None
    return {
        **queues[SOCKET].as_dict(),
        HEADER: queues[HEADER].as_dict(),
        "ignored": snapshot.queue_ignored,
    }


def _killed(killed: KillRecord) -> dict[str, Any]:
    return {
        "time": killed.time,
        "slot": killed.slot,
        "pid": killed.pid,
        "age": killed.age,
        "cause": killed.cause,
        "in_flight": killed.in_flight,
        "current": _current(killed.current),
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
