"""The application that the integration tests serve: each route is one way to spend a request."""

import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import tempfile
import time
from urllib.parse import parse_qs

TEXT = (("Content-Type", "text/plain"),)  # servers add to a list of headers


def app(environ, start_response):
    query = {key: values[0] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
    route = globals().get("route_" + environ["PATH_INFO"].strip("/").replace("-", "_"))
    if route is None:
        start_response("404 Not Found", [*TEXT, ("Content-Length", "0")])
        return []
    return route(environ, start_response, **query)


def reply(start_response, body, status="200 OK"):
    start_response(status, [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def route_(environ, start_response):
    return reply(start_response, b"hello\n")


def route_pid(environ, start_response):
    return reply(start_response, b"%d" % os.getpid())


def route_sleep(environ, start_response, s="1", other=""):
    time.sleep(float(s))
    return reply(start_response, b"slept\n")


def route_hold(environ, start_response, port, other=""):
    """Tell the test who has its request, and keep it until the test hangs up."""
    # With a timeout it waits in poll(2), which gunicorn's signals interrupt; they restart recv(2).
    with socket.create_connection(("127.0.0.1", int(port)), timeout=600) as line:
        line.sendall(b"%d" % os.getpid())
        line.recv(1)
    return reply(start_response, b"held\n")


def route_hold_spinning(environ, start_response, port, other=""):
    """The same, and let nothing else of this thread run."""
    spin_on(int(port))
    return reply(start_response, b"held\n")


def spin_on(port):
    """Tell the test who is here, and spin until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=600) as line:
        line.sendall(b"%d" % os.getpid())
        line.setblocking(False)
        while True:
            with contextlib.suppress(BlockingIOError):
                line.recv(1)
                return


def route_hold_writing(environ, start_response, port, other=""):
    """The same, within the response."""
    start_response("200 OK", [*TEXT])
    return written_in_parts(int(port))


def written_in_parts(port):
    yield b"x" * 10
    with socket.create_connection(("127.0.0.1", port), timeout=600) as line:
        line.sendall(b"%d" % os.getpid())
        line.recv(1)
    yield b"x" * 20


def route_spin(environ, start_response, s="1"):
    until = time.monotonic() + float(s)
    while time.monotonic() < until:
        pass
    return reply(start_response, b"spun\n")


def route_stick(environ, start_response, s="1"):
    """Stay in a C call that holds the interpreter."""
    ctypes.PyDLL(None).usleep(int(float(s) * 1e6))
    return reply(start_response, b"stuck\n")


def route_boom(environ, start_response):
    raise RuntimeError("boom before the response")


def route_boom_first(environ, start_response):
    start_response("200 OK", [*TEXT])
    return explode_after(0)


def route_boom_mid(environ, start_response):
    start_response("200 OK", [*TEXT])
    return explode_after(2)


def explode_after(chunks):
    for _ in range(chunks):
        yield b"chunk\n"
    raise RuntimeError("boom within the response")


def route_redirect(environ, start_response):
    return reply(start_response, b"", "302 Found")


def route_unavailable(environ, start_response):
    return reply(start_response, b"busy\n", "503 Service Unavailable")


def route_stream(environ, start_response, n="10", s="0.1", size="10"):
    start_response("200 OK", [*TEXT])
    return chunks(int(n), float(s), int(size))


def chunks(n, s, size):
    for _ in range(n):
        yield b"x" * size
        time.sleep(s)


def route_big(environ, start_response, size="50000000"):
    return reply(start_response, bytes(int(size)))


def route_file(environ, start_response, size="3000000"):
    file = tempfile.TemporaryFile()  # noqa: SIM115  # gunicorn closes it
    file.truncate(int(size))
    start_response("200 OK", [*TEXT, ("Content-Length", size)])
    return environ["wsgi.file_wrapper"](file)


def route_faulthandler(environ, start_response, cut=None, unless=None):
    """It puts handlers of its own in front of all that are there, the first time. A file is cut
    before any of them is moved, except by one worker. Replies whose handler is in front then."""
    faulthandler.enable()
    if cut and str(os.getpid()) != unless:
        os.truncate(cut, 0)
    action = ctypes.create_string_buffer(1024)  # struct sigaction, which begins with the handler
    ctypes.CDLL(None).sigaction(signal.SIGBUS, None, action)
    return reply(start_response, f"{os.getpid()} {action.raw[:8].hex()}".encode())


def route_fork(environ, start_response):
    """A child that leaves through the server's own stack ends its parent's request again."""
    pid = os.fork()
    if pid == 0:
        raise SystemExit(0)
    os.waitpid(pid, 0)
    return reply(start_response, b"forked\n")


def route_child(environ, start_response, by="python"):
    """Fork a child that stays. One that C code forks can hang at any line of Python: it waits for
    threads that it has not. It stays all the same."""
    pid = (os.fork if by == "python" else ctypes.PyDLL(None).fork)()
    if not pid:
        signal.pause()
    return reply(start_response, str(pid).encode())


def route_stop(environ, start_response):
    """A worker that is stopped takes no SIGABRT either: gunicorn has to SIGKILL it."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return reply(start_response, b"went on\n")


def route_exit(environ, start_response):
    os._exit(5)


def route_headers(environ, start_response):
    return reply(start_response, environ.get("HTTP_COOKIE", "").encode())
