"""A Watcher of listeners that are made up, and whose samples are taken when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from gunicorn_raindrops import ListenStats, Watcher, watcher

NAME = "127.0.0.1:80"
HOST = "watch.example:8000"


def when_awaited(sampler: Any, sample: Callable[..., None], *args: Any) -> None:
    """Take a sample, on another thread, once somebody waits for the next one. One that came sooner
    would not be waited for, and there is no other."""
    wait = sampler.wait

    def awaited(*bounds: Any) -> Any:
        sampler.wait = wait
        sampling = threading.Thread(target=sample, args=args)
        sampling.start()
        try:
            return wait(*bounds)
        finally:
            sampling.join()

    sampler.wait = awaited


class Stepped:
    """The Watcher, and what its next sample finds: address to (active, queued), or an error."""

    def __init__(self, monkeypatch: Any, found: Mapping[str, tuple[int, int]]) -> None:
        self.found: Any = found
        monkeypatch.setattr(watcher, "tcp_listener_stats", lambda names: self._stats())
        monkeypatch.setattr(watcher, "unix_listener_stats", lambda names: {})
        self.app = Watcher(delay=3600)

    def _stats(self) -> dict[str, ListenStats]:
        if isinstance(self.found, Exception):
            raise self.found
        return {name: ListenStats(*figures, None, None) for name, figures in self.found.items()}

    @property
    def sampler(self) -> Any:
        return self.app._sampler()

    def step(self, found: Any) -> None:
        """Take a sample, after the one that the sampler's thread begins with."""
        sampler = self.sampler
        self.found = found
        sampler.sample()

    def step_when_awaited(self, found: Any) -> None:
        """Take a sample once somebody waits for the next one."""
        when_awaited(self.sampler, self.step, found)

    def ask(
        self, path: str, method: str = "GET", **environ: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        status, headers, body = self.open(path, method, **environ)
        return status, headers, b"".join(body)

    def open(self, path: str, method: str = "GET", **environ: str) -> Any:
        """Return status, headers and the body, which is not read."""
        started: list[Any] = []
        request = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_HOST": HOST, **environ}
        body = self.app(request, lambda *args: started.extend(args))
        return int(started[0][:3]), dict(started[1]), body
