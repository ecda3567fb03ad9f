"""How a request under gunicorn's hooks ends: what broke it off, and what its client gets.

gunicorn calls post_request while the request's exception passes by, before it answers it. So what
it will send is told here from its workers' source, which differs by version and worker class.
tests/integration/test_outcomes.py compares that with what clients get.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from ..counting.outcome import is_client_gone


def handles_all() -> bool:
    """Tell whether sync and gevent workers answer what is no Exception: gunicorn's from 22 on."""
    return bool(sys.modules["gunicorn"].version_info >= (22,))


_HANDLERS = {"handle_request", "handle_http2_request"}
"""The methods of gunicorn's workers that call the hooks of a request."""


def own_error(error: BaseException | None) -> BaseException | None:
    """Return what broke a request off, given the exception that is handled around `post_request`;
    None if nothing did.

    That exception may be an outer frame's: an application may run gunicorn in an `except` block.
    The request's own has passed through the method that handles it, whose frame is then the first
    of its traceback. gunicorn leaves the loop over a connection's requests by a StopIteration that
    this method raises itself. Where that ends a response that broke off, its context is what broke
    it.
    """
    if isinstance(error, StopIteration) and not _comes_from_below(error):
        error = error.__context__
    return error if error is not None and _has_passed(error, _handler()) else None


def _handler() -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_name not in _HANDLERS:
        frame = frame.f_back
    return frame


def _has_passed(error: BaseException, frame: FrameType | None) -> bool:
    first = error.__traceback__
    return frame is None or (first is not None and first.tb_frame is frame)


def _comes_from_below(error: BaseException) -> bool:
    """Tell whether an error was raised in another frame than the one that has caught it."""
    return error.__traceback__ is not None and error.__traceback__.tb_next is not None


def outcome(
    resp: Any, error: BaseException | None, answers_exit: Callable[[BaseException], bool]
) -> tuple[str, bool]:
    """Return the status that the client gets, "" for none, and whether the application failed.

    Args:
        resp: the response.
        error: what broke it off.
        answers_exit: see HookedStrategy.
    """
    if error is None or resp.headers_sent:
        status = str(resp.status or "")
    else:
        status = _answer(resp, error, answers_exit)
    return status, error is not None and _is_failure(resp, error, status)


def _answer(resp: Any, error: BaseException, answers_exit: Callable[[BaseException], bool]) -> str:
    """Return the status of gunicorn's own answer to an error before the first byte."""
    is_http2 = resp.req.version[0] == 2
    if is_client_gone(error) and not _is_foreign_tls(resp, error):
        return ""
    if not isinstance(error, Exception):
        return "500" if not is_http2 and answers_exit(error) else ""
    if is_http2:
        return "500"
    if isinstance(error, ssl.SSLError):
        return "" if error.args[:1] == (ssl.SSL_ERROR_EOF,) else "403"
    if isinstance(error, (StopIteration, OSError)):
        return ""
    return "400" if _is_parsers(error) and "Response" not in type(error).__name__ else "500"


def _is_failure(resp: Any, error: BaseException, status: str) -> bool:
    """Tell whether the application failed. An exit is none unless gunicorn answers it so; neither
    is the StopIteration by which WebSockets over WSGI close their connection."""
    if _is_its_clients(resp, error):
        return False
    is_exit = isinstance(error, StopIteration) or not isinstance(error, Exception)
    return not is_exit or (status[:1] == "5" and not resp.headers_sent)


def _is_its_clients(resp: Any, error: BaseException) -> bool:
    """Tell whether it is the client's doing: it is gone, or its body is malformed."""
    if _is_parsers(error) and type(error).__name__ in _MALFORMED:
        return True
    return is_client_gone(error) and not _is_foreign_tls(resp, error)


def _is_foreign_tls(resp: Any, error: BaseException) -> bool:
    """Tell whether TLS failed on another connection than the client's, which has none."""
    return isinstance(error, ssl.SSLError) and not resp.cfg.is_ssl


_MALFORMED = {"InvalidChunkSize", "ChunkMissingTerminator", "InvalidChunkExtension"}


def _is_parsers(error: BaseException) -> bool:
    """Tell whether it is an error of gunicorn's parser. Before 27 some are OSErrors, and some are
    also raised for a head that the application sends."""
    return type(error).__module__ == "gunicorn.http.errors"
