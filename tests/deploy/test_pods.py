"""Real gunicorns behind the shipped probes, for less long than `make overload` takes."""

import asyncio
import dataclasses
import subprocess
import sys
import time

import pytest

from ..integration.servers import ROOT
from . import manifests
from .pods import Pod, get

pytestmark = [pytest.mark.once, pytest.mark.slow]

FASTER = 3
"""By how much all times are shorter than shipped."""


def overload(*arguments):
    """Run it; returns its exit status and its last line."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.overload", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=200, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines()[-1]


def test_overload():
    """Always a ready pod; no probe fails."""
    code, line = overload("20")
    assert code == 0, line
    assert " 0 failed" in line


def test_overload_sees_a_mistake():
    """With a readiness by saturation it ends with another status."""
    code, line = overload("40", "--wrong", "ready-above")
    assert code == 1
    assert line.startswith("fewest ready pods: 0;")


def hastened(app):
    """Return the app with gunicorn's timeout and the times of its probes shortened alike."""

    def faster(probe):
        return dataclasses.replace(
            probe, period=probe.period / FASTER, timeout=probe.timeout / FASTER
        )

    timeout = f"--timeout {app.gunicorn.timeout}"
    arguments = app.env["GUNICORN_CMD_ARGS"]
    assert timeout in arguments
    shorter = arguments.replace(timeout, f"--timeout {app.gunicorn.timeout // FASTER}")
    return dataclasses.replace(
        app,
        startup=faster(app.startup),
        readiness=faster(app.readiness),
        liveness=faster(app.liveness),
        env=app.env | {"GUNICORN_CMD_ARGS": shorter},
    )


async def until(predicate, seconds):
    """Wait for a condition, within bounds."""
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, f"not within {seconds} s"
        await asyncio.sleep(0.05)


async def is_silent(pod):
    """Tell whether nobody answers, three times in a row."""
    return not any([(await get(pod.status, "/_raindrops", 1))[0] for _ in range(3)])


async def stick(pod):
    """Let all workers sit in a C call that keeps the interpreter, so that nobody answers."""
    asking = []
    for _ in range(10):
        asking.append(asyncio.create_task(get(pod.application, "/stick?s=90", 60)))
        if await is_silent(pod):
            return asking
    raise AssertionError("they answer")


async def stuck_pod(app, folder):
    """Stick a pod's workers; returns the pod after it was out of service and came back."""
    pod = Pod(app, folder)
    await pod.start()
    probing = asyncio.create_task(pod.probe(lambda: None))
    try:
        await until(lambda: pod.container.ready, 60)
        asking = await stick(pod)
        await until(lambda: not pod.container.ready, 60)
        await until(lambda: pod.container.ready, 60)
        await asyncio.gather(*asking)
    finally:
        await pod.stop()
        await probing
    return pod


def test_gunicorn_mends_stuck_workers_before_the_kubelet_does(tmp_path):
    """The pod leaves the service, and returns with new workers, in the same container."""
    pod = asyncio.run(stuck_pod(hastened(manifests.app()), tmp_path))
    assert pod.container.restarts == 0


def test_a_hasty_liveness_probe_restarts_it(tmp_path):
    """With one failure for six the kubelet comes first."""
    app = hastened(manifests.app())
    app = dataclasses.replace(app, liveness=dataclasses.replace(app.liveness, failures=1))
    pod = asyncio.run(stuck_pod(app, tmp_path))
    assert pod.container.restarts > 0
