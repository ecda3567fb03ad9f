"""A server that forks after import: so many waitresses or uvicorns on one inherited listener.

Usage: prefork.py waitress|uvicorn FD WORKERS. SIGTERM ends it and its children.
"""

import contextlib
import os
import signal
import socket
import sys


def waitress(listener):
    import waitress
    from counted_wsgi import app

    return lambda: waitress.serve(app, sockets=[listener], threads=4, _quiet=True)


def uvicorn(listener):
    import uvicorn
    from counted_asgi import app

    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    return lambda: server.run(sockets=[listener])


def main(kind, fd, workers):
    serve = globals()[kind](socket.socket(fileno=int(fd)))
    pids = []
    for _ in range(int(workers)):
        pid = os.fork()
        if pid == 0:
            serve()
            os._exit(0)
        pids.append(pid)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    signal.sigwait([signal.SIGTERM])
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


main(*sys.argv[1:])
