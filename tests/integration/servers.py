"""Real gunicorns for the tests: start one, read its log, ask it, stop it, see that nothing is left.

What a test may rely on: ports are chosen by the kernel and read from the log; every wait is
bounded; the log is read to its end, and a traceback that the test did not announce fails it.
"""

import contextlib
import functools
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ..bounds import LONG, WAIT
from ..processes import alive, children, is_reaped, session
from ..schema import parsed

ROOT = Path(__file__).parent.parent.parent
APPS = Path(__file__).parent
GUNICORNS = {"current": Path(sys.executable), "23": ROOT / ".venv-gunicorn23/bin/python"}
BROKEN = (OSError, http.client.HTTPException)
"""What a client sees of a server whose workers are killed."""
SERVING = ("idle", "reading", "calling", "writing")
"""The states of a worker that takes requests."""


def eventually(predicate, what, seconds=WAIT):
    """Return the first true result of `predicate`, asked again and again, within bounds; `what`
    (or what it returns, if it can be called) is said else."""
    until = time.monotonic() + seconds
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > until:
            pytest.fail(f"not within {seconds} s: {what() if callable(what) else what}")
        threading.Event().wait(0.01)


def rewrite(path, text):
    """Replace a Python file that a server may have imported already.

    Python takes its bytecode for current while the source's size and its time in whole seconds
    stay the same (PEP 3147), so the time moves on with each rewrite. A reloader that watches the
    file sees one change.
    """
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    if path.exists():
        second = int(max(time.time(), path.stat().st_mtime)) + 1
        os.utime(new, (second, second))
    new.replace(path)


# gunicorn before 24 logs from its SIGCHLD handler. Where that interrupts another log call, logging
# prints this instead of the record, and no request is hurt. It tells the errors that led there as
# well: the other log call may have met itself already, or be made where gunicorn handles one of its
# own, the StopIteration by which it ends.
_REENTRANT = re.compile(
    r"^--- Logging error ---\n(?:Traceback .*\n(?: .*\n)+"
    r"(?:RuntimeError: reentrant call inside.*|StopIteration)"
    r"(?:\n\nDuring handling of the above exception, another exception occurred:\n\n)?)+",
    re.M,
)


def tracebacks(log, gunicorn):
    """Return how many tracebacks a log holds, without gunicorn 23's own "reentrant call"."""
    text = "\n".join(log)
    if gunicorn == "23":
        text = _REENTRANT.sub("", text)
    return len(re.findall(r"^Traceback", text, re.M))


class Server:
    """A gunicorn with the shipped config, unless `conf` says otherwise; use it in `with`.

    Args:
        tmp_path: where its files go.
        gunicorn: which of GUNICORNS.
        args: more of the command line.
        env: more variables; RAINDROPS_BIND is 127.0.0.1:0 unless given.
        conf: the text of a conf file, instead of the shipped config; None for no config at all.
        bind: the application's listeners.
        launcher: a command that executes the rest of its arguments.
        cwd: the folder that it is started in; it changes to that of the applications.
        tracebacks: how many tracebacks the log may hold (None: any number).
    """

    pass_fds: tuple[int, ...] = ()
    cwd = None

    def __init__(
        self,
        tmp_path,
        *args,
        gunicorn="current",
        env=None,
        conf="shipped",
        bind=("127.0.0.1:0",),
        app="apps:app",
        launcher=(),
        cwd=None,
        tracebacks=0,
    ):
        python = GUNICORNS[gunicorn]
        if not python.exists():
            pytest.skip(f"no gunicorn {gunicorn}: `make test` makes {python.parent.parent.name}")
        self.command = [*launcher, str(python.parent / "gunicorn")]
        if conf == "shipped":
            self.command += ["-c", "python:gunicorn_raindrops.conf"]
        elif conf is not None:
            path = tmp_path / "gunicorn.conf.py"
            rewrite(path, conf)
            self.command += ["-c", str(path)]
        for address in bind:
            self.command += ["--bind", address]
        # a SIGTERM that comes while a worker is being forked may be lost on it, before 24
        self.command += ["--graceful-timeout", "10", "--chdir", str(APPS), *args, app]
        keep = {k: v for k, v in os.environ.items() if not k.startswith("RAINDROPS_")}
        # HOME: gunicorn from 25.1 on puts a control socket there, one for all servers.
        self.env = keep | {"HOME": str(tmp_path), "RAINDROPS_BIND": "127.0.0.1:0"} | (env or {})
        self.cwd = cwd
        self.log = []
        self.tracebacks = tracebacks
        self._gunicorn = gunicorn
        self.arbiters = []

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command,
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=self.pass_fds,
        )
        self.pid = self.process.pid
        self.arbiters = [self.pid]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))

    def __exit__(self, kind, *_):
        self._stop()
        left = self._left()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(WAIT)
        self._reader.join(WAIT)
        self.process.stderr.close()
        if kind is not None:
            print("\n".join(self.log))
            return
        assert not left, f"processes survived the server: {left}\n" + "\n".join(self.log)
        if self.tracebacks is not None:
            assert tracebacks(self.log, self._gunicorn) <= self.tracebacks, "\n".join(self.log)

    def kill(self):
        """End it at once: several kinds of worker take seconds to see that they are to stop."""
        os.killpg(self.pid, signal.SIGKILL)

    def _stop(self):
        """End all arbiters, the newest first; who does not end within bounds is left over."""
        until = time.monotonic() + WAIT
        for pid in reversed(self.arbiters):
            if pid == self.process.pid:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.terminate()
                    self.process.wait(WAIT)
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            while alive(pid) and time.monotonic() < until:
                threading.Event().wait(0.01)

    def _left(self):
        """Return who of the server's session is there after its arbiters; a killed one may take
        a moment to be gone."""
        until = time.monotonic() + 3
        while (left := session(self.process.pid)) and time.monotonic() < until:
            threading.Event().wait(0.01)
        return left

    def logged(self, pattern, seconds=WAIT):
        """Return the first match of `pattern` in the log, waiting for it."""

        def found():
            for line in list(self.log):
                if match := re.search(pattern, line):
                    return match
            if self.process.poll() is not None and not self._reader.is_alive():
                pytest.fail(f"ended before {pattern!r}:\n" + "\n".join(self.log))
            return None

        return eventually(found, f"{pattern!r} in the log", seconds)

    def warnings(self):
        """Return our warnings."""
        return [line for line in self.log if "[WARNING] gunicorn-raindrops" in line]

    @functools.cached_property
    def address(self):
        """The application's first TCP listener."""
        match = self.logged(r"Listening at: .*?http://(\[?[0-9a-f.:]+\]?):(\d+)")
        return match[1].strip("[]"), int(match[2])

    @functools.cached_property
    def name(self):
        """That listener as the status names it."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @functools.cached_property
    def status_address(self):
        """The status listener."""
        match = self.logged(r"status at http://(.*):(\d+)/")
        return match[1].strip("[]"), int(match[2])

    def get(self, path, method="GET", headers=None, timeout=WAIT, address=None):
        """Ask the application; returns status and body."""
        return self._ask(address or self.address, method, path, headers, timeout)[:2]

    def ask(self, path="/_raindrops", method="GET", headers=None, timeout=WAIT):
        """Ask the status address; returns status, body and headers."""
        return self._ask(self.status_address, method, path, headers, timeout)

    @staticmethod
    def _ask(address, method, path, headers, timeout):
        connection = http.client.HTTPConnection(*address, timeout=timeout)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        finally:
            connection.close()

    def status(self, timeout=WAIT):
        """Return the status as JSON's types."""
        code, body, _ = self.ask("/_raindrops.json", timeout=timeout)
        assert code == 200, body
        return parsed(body)

    def told(self):
        """Return the status; nothing where the worker that was answering got stopped or killed."""
        with contextlib.suppress(*BROKEN):
            return self.status(timeout=1)
        return {}

    def heals(self, pid, is_right, what):
        """Wait until a worker is reaped and the status is right, and return that status.

        The bound is the contract's: what is asked for a second after the worker was reaped must be
        right. How long the answer then takes is not bounded by it.
        """
        eventually(lambda: is_reaped(pid), f"the end of worker {pid}")
        reaped = asked = time.monotonic()
        while asked < reaped + WAIT:
            asked = time.monotonic()
            status = self.told()
            if status and is_right(status):
                return status
            assert not status or asked < reaped + 1, f"{what}, a second after the end: {status}"
            threading.Event().wait(0.01)
        return pytest.fail(f"no answer within {WAIT} s of the end of worker {pid}")

    def text(self, timeout=WAIT):
        """Return the text status as a dictionary."""
        code, body, _ = self.ask(timeout=timeout)
        assert code == 200, body
        pairs = (line.rpartition(": ") for line in body.decode().splitlines())
        return {name: int(value) for name, _, value in pairs}

    def ready(self, workers):
        """Wait until so many workers serve; returns the status."""

        def all_there():
            status = self.status()
            states = [worker["state"] for worker in status["workers"]]
            return len(states) == workers and "starting" not in states and status

        self.status_address  # noqa: B018  # waits for it
        return eventually(all_there, f"{workers} workers ready")

    def workers(self, pid=None):
        """Return the pids of the arbiter's children, or of another arbiter's."""
        return children(pid or self.pid)

    def ready_workers(self):
        """Return the pids of the workers that serve."""
        rows = self.status()["workers"]
        return [row["pid"] for row in rows if row["state"] in SERVING]

    def send(self, sig, pid=None):
        """Send a signal to the arbiter, or to another of its processes."""
        os.kill(pid or self.pid, sig)

    def renewed(self, act, workers):
        """Do something that replaces all workers, and wait for so many new ones to be ready."""
        before = set(self.workers())
        act()
        eventually(
            lambda: len(now := self.workers()) == workers and not before & set(now),
            f"{workers} new workers",
        )
        return self.ready(workers)

    def upgrade(self, workers):
        """Start a second generation (USR2) beside the first; returns its arbiter's pid once it has
        so many workers, and they serve."""
        before = set(self.workers())
        self.send(signal.SIGUSR2)

        def second():
            for pid in set(self.workers()) - before:
                if len(children(pid)) == workers:
                    return pid
            return None

        pid = eventually(second, "a second generation")
        self.arbiters.append(pid)
        eventually(lambda: set(children(pid)) <= set(self.ready_workers()), "its workers")
        return pid

    def end(self, pid, sig=signal.SIGTERM):
        """End one generation; the other is the server from then on."""
        self.send(sig, pid)
        if pid == self.process.pid:
            self.process.wait(2 * WAIT)
        eventually(lambda: not alive(pid), f"the end of arbiter {pid}", 2 * WAIT)
        self.arbiters.remove(pid)
        if self.pid == pid:
            self.pid = self.arbiters[-1]
            self.logged(rf"\[{self.pid}\] .* promoted")  # before that it takes no USR2

    def settled(self):
        """Wait until nothing is in flight; returns the status."""

        def idle():
            status = self.status()
            return status["calling"] == status["writing"] == 0 and status

        return eventually(idle, "nothing in flight")


class Background:
    """Requests in threads of their own; `join` returns their results and raises their errors."""

    def __init__(self):
        self._threads = []
        self._results = []
        self._errors = []

    def add(self, function, *args, **kwargs):
        """Run a function beside the test."""

        def run():
            try:
                self._results.append(function(*args, **kwargs))
            except Exception as error:
                self._errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)

    def join(self, errors=False):
        """Wait for all; `errors`: theirs are expected."""
        for thread in self._threads:
            thread.join(LONG)
            assert not thread.is_alive()
        if self._errors and not errors:
            raise self._errors[0]
        return self._results


def connect(address):
    """Return a connected client socket."""
    sock = socket.create_connection(address, timeout=WAIT)
    sock.settimeout(WAIT)
    return sock
