"""A Prometheus of the tests' own: Debian's program, with its memory in the test's folder."""

import contextlib
import json
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest

from .bounds import WAIT
from .integration.servers import eventually
from .ports import free_address


def needs_prometheus():
    """Skip the test where Debian's package is not installed; it has both programs."""
    for name in ("prometheus", "promtool"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name}: apt-get install prometheus")


def scraping(interval, *targets):
    """Return a config that scrapes these HOST:PORT each `interval` seconds, as job gunicorn."""
    every = f"{round(interval * 1000)}ms"
    job = {"job_name": "gunicorn", "scrape_interval": every, "scrape_timeout": every}
    return json.dumps({"scrape_configs": [{**job, "static_configs": [{"targets": targets}]}]})


class Prometheus:
    """Use it in `with`; it has scraped all its targets then.

    Args:
        folder: for its config and its memory.
        config: the text of its config file; JSON is YAML too.
        options: more of its command line.
    """

    def __init__(self, folder, config, *options):
        needs_prometheus()
        self.address = free_address()
        folder.mkdir(exist_ok=True)
        path = folder / "prometheus.yml"
        path.write_text(config)
        self._command = [
            "prometheus",
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={self.address}",
            "--log.level=error",
            *options,
        ]

    def __enter__(self):
        self._process = subprocess.Popen(self._command)
        try:
            eventually(self._has_scraped, "a first scrape of each target")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(WAIT)

    def ask(self, path, **parameters):
        """Return the data of an answer of its HTTP API."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=WAIT) as found:
            return json.load(found)["data"]

    def samples(self, expression):
        """Return what an expression gives now: pairs of labels and value."""
        result = self.ask("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in result]

    def query(self, expression):
        """Return the values that an expression has now, in a list."""
        return [value for _, value in self.samples(expression)]

    def _has_scraped(self):
        with contextlib.suppress(OSError):  # it does not listen yet
            targets = self.ask("targets", state="active")["activeTargets"]
            return all(target["health"] == "up" for target in targets) and self._is_ready()
        return False

    def _is_ready(self):
        with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=WAIT) as found:
            return found.status == 200
