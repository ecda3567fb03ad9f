"""Clients for a server whose life is eventful: they ask on and on, and know exactly what they got.

A request is `answered` when its answer came whole, `broken` when it was sent and none did, and
`refused` when nobody listened. What a server has counted is exact if it is what was answered; of
the broken ones it may have counted each or not, for nobody outside knows how far it came.
"""

import collections
import contextlib
import http.client
import random
import socket
import threading

from ..bounds import WAIT
from .servers import connect, eventually

PATHS = ["/", "/", "/nowhere", "/redirect", "/unavailable", "/sleep?s=0.02", "/stream?n=3&s=0.005"]


class Load:
    """Clients in threads of their own; use it in `with`, at whose end they have stopped.

    Args:
        address: the application's.
        rate: requests a second, of all clients together, at most.
        clients: how many.
        paths: what they ask for, at random.
    """

    def __init__(self, address, rate=100, clients=4, paths=PATHS):
        self.address = address
        self.paths = paths
        self.answered = collections.Counter()
        self.broken = 0
        self.refused = 0
        self._interval = clients / rate
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._paused = False
        self._in_flight = 0
        self._threads = [
            threading.Thread(target=self._ask_on, args=(seed,), daemon=True)
            for seed in range(clients)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def total(self):
        """How many requests were answered."""
        return sum(self.answered.values())

    def stop(self):
        """Let each client finish its request, and no other begin."""
        self._over.set()
        self.go_on()
        for thread in self._threads:
            thread.join(2 * WAIT)
            assert not thread.is_alive()

    def pause(self):
        """Wait until none of these clients has a request in flight, and keep it so."""
        with self._changed:
            self._paused = True
            assert self._changed.wait_for(lambda: not self._in_flight, 2 * WAIT)

    def go_on(self):
        """End a pause."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def ask(self, path, headers=None, counts=(404,)):
        """Make a request of the test's own; returns its status, one of `counts` if the application
        gave it."""
        connection = http.client.HTTPConnection(*self.address, timeout=WAIT)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers or {})
            status = connection.getresponse().status
        if status in counts:
            with self._changed:
                self.answered[f"{status // 100}xx"] += 1
        return status

    def more(self, requests):
        """Wait until so many more are answered."""
        before = self.total
        eventually(lambda: self.total >= before + requests, f"{requests} more answers")

    def at_once(self, requests):
        """Send so many requests at the same time, and wait for their answers."""
        clients = [threading.Thread(target=self._one, args=("/",)) for _ in range(requests)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(2 * WAIT)
            assert not client.is_alive()

    def _ask_on(self, seed):
        chance = random.Random(seed)
        while not self._over.wait(self._interval):
            with self._changed:
                self._changed.wait_for(lambda: not self._paused)
                if self._over.is_set():
                    return
                self._in_flight += 1
            try:
                self._one(chance.choice(self.paths))
            finally:
                with self._changed:
                    self._in_flight -= 1
                    self._changed.notify_all()

    def _one(self, path):
        try:
            sock = connect(self.address)
        except OSError:
            with self._changed:
                self.refused += 1
            return
        with sock:
            answer = _exchange(sock, path)
        with self._changed:
            if _is_whole(answer):
                self.answered[answer[9:10].decode() + "xx"] += 1
            else:
                self.broken += 1


def _exchange(sock, path):
    """Ask for a path; returns what came, to its end or to an error."""
    answer = b""
    with contextlib.suppress(OSError):
        sock.sendall(b"GET %s HTTP/1.0\r\nHost: x\r\n\r\n" % path.encode())
        while got := sock.recv(65536):
            answer += got
    return answer


def _is_whole(answer):
    head, end, body = answer.partition(b"\r\n\r\n")
    _, named, length = head.lower().partition(b"content-length: ")
    # what is streamed has no length, but the test knows it
    return bool(end) and len(body) == (int(length.split()[0]) if named else 30)


def exact(server, *loads):
    """Check that what was answered is what was counted, by class, and that nothing is in flight."""
    for load in loads:
        load.stop()
    answered = sum((load.answered for load in loads), collections.Counter())
    broken = sum(load.broken for load in loads)
    total = sum(answered.values())
    assert total, "no load"
    eventually(lambda: server.status()["requests"] >= total, f"{total} counted")
    status = server.settled()
    assert total <= status["requests"] <= total + broken, (total, broken, status["requests"])
    if not broken:
        assert {k: v for k, v in status["responses"].items() if v} == dict(answered)
    return status


class Gate:
    """Holds requests: `/hold` of the application runs until the test lets it go. So does
    `/hold-spinning`, in a loop of pure Python, and `/hold-writing`, in its response."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(WAIT)

    def close(self):
        """Hold no more."""
        self._listener.close()

    def hold(self, address, path="/hold", headers=""):
        """Send a request; returns it once the application has it."""
        client = connect(address)
        port = self._listener.getsockname()[1]
        query = f"port={port}&other=secret"
        client.sendall(f"GET {path}?{query} HTTP/1.0\r\n{headers}\r\n".encode())
        line, _ = self._listener.accept()
        line.settimeout(WAIT)
        return Held(client, line, int(line.recv(20)))


class Held:
    """A request in the application: its client, and the pid that has it. In `with` it is let go at
    the end."""

    def __init__(self, client, line, pid):
        self.pid = pid
        self._client = client
        self._line = line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    def release(self):
        """Let the application return; returns whether the client was answered."""
        self._line.close()
        with self._client, contextlib.suppress(OSError):
            answer = b"".join(iter(lambda: self._client.recv(1000), b""))
            return _is_whole(answer)
        return False

    def hang_up(self):
        """Let the client go first, then the application return."""
        self._client.close()
        self._line.close()

    def is_lost(self):
        """Tell whether the application's end is gone, and with it the request."""
        self._line.setblocking(False)
        try:
            return self._line.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self._line.settimeout(WAIT)
