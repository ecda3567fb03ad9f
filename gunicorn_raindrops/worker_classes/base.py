"""What the strategies of all worker classes have in common.

A strategy is how the requests of one worker class are counted, and what else differs from class to
class. Each worker has one object of it, made in `post_worker_init`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

from .._native._objects import StandIn
from ..counting import attached
from ..counting.queue_header import QueueHeader
from ..looking.flight import Finder, Nothing
from ..status.app import StatusApp

Application = Callable[..., Any]

if sys.version_info >= (3, 11):
    error_now = sys.exception
else:

    def error_now() -> BaseException | None:
        """Return the exception that is being handled."""
        return sys.exc_info()[1]


class Strategy:
    """How the requests of one worker are counted. As it stands it counts nothing."""

    has_hooks = False
    """Whether the request hooks do anything. If not, gunicorn's own may be put back."""
    abort = "handle_abort"
    """The worker's method that SIGABRT calls, which is the arbiter's timeout."""

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """Return how many requests a worker can run at once, as far as its settings tell."""
        return int(worker.cfg.worker_connections)

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """Show when a worker takes no more requests: on SIGTERM it finishes those it has."""
        before(worker, "handle_exit", attached.finishing)

    @classmethod
    def watch_signals(cls, leave: Callable[[], None]) -> None:
        """Have `leave` called by a signal that ends the worker without gunicorn's `worker_exit`."""

    def __init__(self, header: QueueHeader | None = None) -> None:
        """`header` reads from a request's headers how long it has waited; None: nobody asks."""
        self._header = header

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """Wrap the worker's application in what counts there.

        Args:
            worker: the worker.
            app: answers the status on the application's own listeners; None: nothing does.
        """
        raise NotImplementedError

    def finder(self, worker: Any) -> Finder:
        """Return what finds where requests of the worker stand."""
        return Nothing()

    def begin(self, req: Any) -> None:
        """Begin a request, in `pre_request`."""

    def end(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """End a request, in `post_request`.

        Args:
            worker: the worker.
            resp: the response; None if the application was never called.
            error: what the request has raised.
        """


class HookedStrategy(Strategy):
    """A strategy of classes that call the request hooks."""

    has_hooks = True
    _begin: Callable[[str, str, int], Any]
    """Begins a request: its method, its path, and its connection's descriptor or -1."""

    @staticmethod
    def answers_exit(error: BaseException) -> bool:
        """Tell whether gunicorn answers 500 where SystemExit, or another exception that is no
        Exception, ends the application before the first byte."""
        return False

    def begin(self, req: Any) -> Any:
        """Begin a request. Returns what `_begin` does."""
        try:
            # how long a connection's later requests have waited the kernel does not know
            fd = req.unreader.sock.fileno() if req.req_number == 1 else -1
        except AttributeError:  # HTTP/2
            fd = -1
        if self._header is not None:
            self._header.record(req.peer_addr, req.headers)
        return self._begin(req.method, req.path, fd)


def in_place_of(
    application: Any, counted: Any, *, after: Callable[[], object] | None = None
) -> Any:
    """Return what takes the place of an application on its worker. Hooks of the user's look there
    for the application, so it has the application's attributes, and its class for isinstance.

    Args:
        application: the user's.
        counted: the function that counts its requests.
        after: where all that `counted` does is to call this after the application, this.
    """
    if type(application) is not FunctionType:
        return StandIn(application, after=after) if after else StandIn(application, call=counted)
    for name in functools.WRAPPER_ASSIGNMENTS:
        setattr(counted, name, getattr(application, name))
    counted.__dict__ = application.__dict__  # one dictionary, for what is set later, too
    return counted


def before(owner: Any, name: str, first: Callable[[], Any]) -> None:
    """Have a method of a worker, or of a class, do something else first."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def both(*args: Any) -> Any:
        first()
        return method(*args)

    setattr(owner, name, both)
