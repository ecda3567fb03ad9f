"""How the requests of one worker are counted, and what else differs between worker classes.

Here are those of the classes that give a request a thread, sync and gthread: the hooks carry it,
and its phase is the thread's. The others stand in `unthreaded`, which costs a worker of these
nothing.
"""

from __future__ import annotations

import errno
import functools
import ssl
import sys
from collections.abc import Callable
from typing import Any

from ..counting import attached, request
from ..counting.queue_header import QueueHeader
from ..status import expose
from ..status.app import StatusApp

Application = Callable[..., Any]


class Way:
    """How one worker's requests are counted. `begin` and `end` are what the hooks do."""

    hooks = False
    """Whether the request hooks do anything; if not, gunicorn's own may be put back."""
    abort = "handle_abort"
    """The worker's method that SIGABRT calls, which is the arbiter's timeout."""

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """How many requests a worker can run at once, as far as its settings tell."""
        return int(worker.cfg.worker_connections)

    def __init__(self, header: QueueHeader | None = None) -> None:
        """`header` tells from a request's headers how long it has waited; None: nobody asks."""
        self._header = header

    def begin(self, req: Any) -> None:
        """A request is about to reach the application."""

    def end(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """It has been answered, or has failed."""

    @classmethod
    def watch_exit(cls, worker: Any) -> None:
        """See the end coming: on SIGTERM a worker finishes what it has."""
        before(worker, "handle_exit", attached.finishing)

    @classmethod
    def watch_signals(cls, leave: Callable[[], None]) -> None:
        """Have a worker that a signal is to end, past gunicorn's `worker_exit`, say so first."""

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """Put around the worker's application what counts there, and what answers the status on
        the application's own listeners, if `app` is to."""
        raise NotImplementedError


def before(owner: Any, name: str, first: Callable[[], Any]) -> None:
    """Have a method of a worker, or of a class, do something else first."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def both(*args: Any) -> Any:
        first()
        return method(*args)

    setattr(owner, name, both)


# What the hooks carry.

_CLIENT_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN}


def _is_gone(error: BaseException | None) -> bool:
    """Tell whether an error says that the client is gone, which is no fault of the application."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return error.errno in _CLIENT_GONE
    http2 = sys.modules.get("gunicorn.http2.errors")  # from 25 on, once it has spoken HTTP/2
    return isinstance(error, ssl.SSLError) or (
        http2 is not None and isinstance(error, http2.HTTP2Error)
    )


def outcome(resp: Any, error: BaseException | None) -> tuple[str, bool]:
    """Return the status that the client got, and whether the application failed.

    gunicorn calls post_request while the request's exception passes by. An application that
    raises before its first byte leaves a status that is None, or one that was never sent: the
    client got a 500. If it is the client that went, the status stands as it was meant.
    """
    gone = _is_gone(error)
    sent = resp.headers_sent or error is None or gone
    return (str(resp.status) if sent and resp.status else "500"), error is not None and not gone


def begin(begin: Callable[[str, str, int], Any], header: QueueHeader | None, req: Any) -> Any:
    try:
        # what a connection's later requests have waited the kernel does not know
        fd = req.unreader.sock.fileno() if req.req_number == 1 else -1
    except AttributeError:  # HTTP/2
        fd = -1
    if header is not None:
        header.record(req.peer_addr, req.headers)
    return begin(req.method, req.path, fd)


class Threads(Way):
    """gthread: a request has a thread from pre_request to post_request."""

    hooks = True

    def begin(self, req: Any) -> None:
        """See Way."""
        begin(request.begin, self._header, req)

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Way."""
        return int(worker.cfg.threads)

    def end(self, worker: Any, resp: Any, error: BaseException | None) -> None:
        """See Way."""
        if error is None and worker.alive:
            try:
                return _END[resp.status[0]]()
            except (AttributeError, IndexError, KeyError, TypeError):
                pass  # no response, or a strange status
        return _end_specially(worker, resp, error)

    def wrap(self, worker: Any, app: StatusApp | None) -> None:
        """See Way."""
        worker.wsgi = expose.wsgi(responding(worker.wsgi), app, request.cancel)


_END = request.END


def _end_specially(worker: Any, resp: Any, error: BaseException | None) -> None:
    """End a request that failed, or was the last one, or never came to the application."""
    if not worker.alive:
        attached.finishing()
    if resp is None:
        request.cancel()
        return
    status, failed = outcome(resp, error)
    if failed:
        request.fail()
    _END.get(status[0], request.end_other)()


def responding(application: Application) -> Application:
    """Wrap a WSGI application whose requests are the hooks', on a thread each; what it returns
    goes back untouched, so that gunicorn still knows a file."""
    respond = request.respond

    def counted(environ: Any, start_response: Any) -> Any:
        iterable = application(environ, start_response)
        respond()
        return iterable

    return counted


class Sync(Threads):
    """sync: one request after the other."""

    @classmethod
    def capacity(cls, worker: Any) -> int:
        """See Way."""
        return 1
