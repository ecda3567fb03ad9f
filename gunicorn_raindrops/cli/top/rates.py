"""Rates, from the differences of two samples. Pure."""

from __future__ import annotations

from .sample import Sample, Worker


def with_rates(sample: Sample, before: Sample | None) -> Sample:
    """Return a sample with requests a second and processors in use since another one. A worker has
    them if it was there with the same slot and pid."""
    seconds = sample.time - before.time if before else 0
    if before is None or seconds <= 0:
        return sample._replace(figures={**sample.figures, "requests/s": None})
    of = {(one.slot, one.pid): one for one in before.workers}
    workers = tuple(_worker(one, of.get((one.slot, one.pid)), seconds) for one in sample.workers)
    total = per_second(sample.requests, before.requests, seconds)
    return sample._replace(workers=workers, figures={**sample.figures, "requests/s": total})


def _worker(now: Worker, before: Worker | None, seconds: float) -> Worker:
    if before is None:
        return now
    return now._replace(
        rate=per_second(now.requests, before.requests, seconds),
        load=per_second(now.cpu_seconds, before.cpu_seconds, seconds),
    )


def per_second(now: float | None, before: float | None, seconds: float) -> float | None:
    """Return by how much a total grew a second; None if that is not known, or it went back, as
    another server's does."""
    if now is None or before is None or now < before:
        return None
    return (now - before) / seconds
