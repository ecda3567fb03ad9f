"""Gunicorn's worker classes, and what a test must know of each."""

import functools
import importlib.metadata
import importlib.util
import os
import sys
from dataclasses import dataclass

import pytest

from .servers import GUNICORNS

CELL = os.environ.get("WORKER_CLASS")
"""The worker class that a cell of the matrix is about."""


@dataclass(frozen=True)
class WorkerClass:
    """A worker class.

    Attributes:
        name: as gunicorn has it.
        gunicorns: those that it is tried on.
        needs: the package that it needs.
        app: the tests' application for it.
        room: what makes a worker run `at_once` requests at once.
        at_once: how many a worker of these tests runs then: its capacity.
        keeps: which of `beyond` it does with more connections than that: "waits" leaves them in
            the accept queue, "runs" them all, "takes" some of them only to let them wait.
        unseen: routes that a client learns nothing of, or whose end only the server sees.
        unwritten: routes that are buffered, so that their sending cannot be seen.
    """

    name: str
    gunicorns: tuple[str, ...]
    needs: str | None = None
    app: str = "apps:app"
    room: tuple[str, ...] = ("--worker-connections", "2")
    at_once: int = 2
    keeps: str = "waits"
    unseen: frozenset[str] = frozenset()
    unwritten: frozenset[str] = frozenset()
    keepalive: bool = True

    @property
    def args(self):
        """The command line that chooses it."""
        return ("--worker-class", self.name)

    @property
    def is_asgi(self):
        """Whether its applications are ASGI."""
        return self.app == ASGI

    def available(self, gunicorn):
        """Skip the test where the package is not installed beside that gunicorn; a cell of the
        matrix that lacks it has failed."""
        if self.needs is not None and not has(gunicorn, self.needs):
            lacking = pytest.fail if CELL else pytest.skip
            lacking(f"no {self.needs} beside gunicorn {gunicorn}")


@functools.cache
def has(gunicorn, package):
    """Tell whether a package is installed beside a gunicorn."""
    if gunicorn == "current":
        return importlib.util.find_spec(package) is not None
    prefix = GUNICORNS[gunicorn].parent.parent
    return any(prefix.glob(f"lib/python*/site-packages/{package}"))


ASGI = "asgi_apps:app"
BOTH = ("current", "23")
FILES = frozenset({"/file?size=50000000"})
BIG = frozenset({"/big?size=50000000"})
# Where asgi's writing waits for no client: before gunicorn 25, and where asyncio's writelines()
# takes any amount at once (CVE-2024-12254).
HASTY = (
    int(importlib.metadata.version("gunicorn").partition(".")[0]) < 25
    or (3, 12) <= sys.version_info < (3, 12, 9)
    or (3, 13) <= sys.version_info < (3, 13, 2)
)

CLASSES = {
    one.name: one
    for one in [
        WorkerClass("sync", BOTH, room=(), at_once=1, keepalive=False),
        WorkerClass("gthread", BOTH, room=("--threads", "2"), keeps="takes"),
        WorkerClass("gevent", BOTH, "gevent"),
        WorkerClass("eventlet", ("23",), "eventlet", keeps="takes"),
        WorkerClass("gevent_pywsgi", ("current",), "gevent"),
        # its WSGI container says nothing to the client of an application that raises, and sends
        # a response when it has the whole of it
        WorkerClass(
            "tornado", ("current",), "tornado", room=(), at_once=1, keeps="takes",
            unseen=frozenset({"/boom", "/boom-first", "/boom-mid"}), unwritten=FILES | BIG,
        ),
        # it buffers the head: such a client gets nothing at all
        WorkerClass(
            "asgi", ("current",), app=ASGI, keeps="runs",
            unseen=frozenset({"/boom-first"}), unwritten=FILES | (BIG if HASTY else frozenset()),
        ),
        WorkerClass(
            "uvicorn_worker.UvicornWorker", ("current",), "uvicorn_worker", ASGI, keeps="runs",
            unwritten=FILES | BIG,
        ),
        WorkerClass(
            "uvicorn.workers.UvicornWorker", ("23",), "uvicorn", ASGI, keeps="runs",
            unwritten=FILES | BIG,
        ),
    ]
}  # fmt: skip
LIVING = ["sync", "gthread"]
"""Those that are led through each turn of a server's life."""
HOLDING = ("sync", "gthread")
"""Those in which a connection holds a thread."""
PAIRS = [(g, one) for one in CLASSES.values() for g in one.gunicorns]
if CELL:  # one alone, on the gunicorn beside us
    PAIRS = [("current", CLASSES[CELL])]
    LIVING = [CELL]
IDS = [f"{g}-{one.name}" for g, one in PAIRS]
each = pytest.mark.parametrize(("gunicorn", "kind"), PAIRS, ids=IDS)
"""A test's parameters: each worker class on each gunicorn that it is tried on."""


def among(*names):
    """Return a test's parameters: worker classes, by default all, each on one gunicorn."""
    chosen = [CLASSES[name] for name in names or CLASSES]
    pairs = [(one.gunicorns[0], one) for one in chosen]
    return pytest.mark.parametrize(("gunicorn", "kind"), pairs, ids=[one.name for one in chosen])
