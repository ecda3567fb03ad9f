"""A real Alertmanager with the shipped config: whom it tells of an alert, and whom not."""

import contextlib
import json
import shutil
import subprocess
import urllib.request

import pytest

from ..bounds import WAIT
from ..integration.servers import eventually
from ..ports import free_address
from .rules import FOLDER, alerts

pytestmark = pytest.mark.once

CONFIG = FOLDER / "alertmanager.yml"


def needs(name):
    """Skip the test where Debian's package is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: apt-get install prometheus-alertmanager")
    return found


@pytest.fixture
def alertmanager(tmp_path):
    """The base of its URLs."""
    address = free_address()
    command = [needs("prometheus-alertmanager"), f"--config.file={CONFIG}"]
    command += [f"--storage.path={tmp_path}", f"--web.listen-address={address}"]
    command += ["--cluster.listen-address=", "--log.level=error"]
    process = subprocess.Popen(command)
    try:
        eventually(lambda: is_there(f"http://{address}/-/ready"), "Alertmanager")
        yield f"http://{address}/api/v2"
    finally:
        process.terminate()
        process.wait(WAIT)


def is_there(url):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(url, timeout=WAIT).read()
    return None


def send(base, *names, instance="a:9180"):
    """Have alerts fire, as Prometheus would."""
    labels = [{"alertname": name, "job": "gunicorn", "instance": instance} for name in names]
    body = json.dumps([{"labels": one} for one in labels]).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{base}/alerts", body, headers)
    urllib.request.urlopen(asked, timeout=WAIT).close()


def inhibited(base):
    """Return the alerts that nobody is told of, by name and instance."""
    found = json.loads(is_there(f"{base}/alerts"))
    return {
        (alert["labels"]["alertname"], alert["labels"]["instance"])
        for alert in found
        if alert["status"]["inhibitedBy"]
    }


def test_routes():
    """amtool takes the config, and a stuck request is not held back to be grouped."""
    done = subprocess.run([needs("amtool"), "check-config", CONFIG], capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    command = ["amtool", "config", "routes", "show", f"--config.file={CONFIG}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT)
    assert '{alertname="StuckRequest"}' in shown.stdout


def test_what_an_alert_inhibits(alertmanager):
    """Of the same server, and of no other; every other alert is told."""
    send(alertmanager, *alerts())
    others = ("Waiting", "QueueTime", "WorkerKilled", "WorkersMissing")
    send(alertmanager, *others, instance="b:9180")
    expected = {(name, "a:9180") for name in others}
    eventually(lambda: inhibited(alertmanager) == expected, lambda: inhibited(alertmanager))
