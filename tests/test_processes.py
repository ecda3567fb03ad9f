"""What the kernel tells of processes, against /proc itself."""

import os
import sys
import time
from pathlib import Path

import pytest

from gunicorn_raindrops import _native, processes
from gunicorn_raindrops.processes import UNKNOWN, usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
TICK = 1 / os.sysconf("SC_CLK_TCK")


def stat(pid):
    """Return processor seconds and resident bytes, as proc_pid_stat(5) has them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[14 - 3]) + int(fields[15 - 3])) * TICK
    return seconds, int(fields[24 - 3]) * os.sysconf("SC_PAGE_SIZE")


def test_a_busy_process(fork):
    """Its threads' time and its memory; of each process its own."""

    def spin(link):
        held = bytearray(b"x" * (20 << 20))
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
        link.say()
        link.hear()
        assert len(held)

    child = fork(spin)
    child.link.hear()
    before = stat(child.pid)
    own, busy = usage([os.getpid(), child.pid])
    assert busy.cpu_seconds == pytest.approx(before[0], abs=2 * TICK)
    assert busy.cpu_seconds >= 0.25
    assert busy.rss_bytes == pytest.approx(before[1], rel=0.01)
    assert busy.rss_bytes > 20 << 20
    assert own.cpu_seconds == pytest.approx(stat(os.getpid())[0], abs=0.1)
    child.link.say()
    child.check()


def test_a_name_that_reads_like_fields(fork):
    """A process chooses its own name."""

    def rename(link):
        Path("/proc/self/comm").write_text(") R 1 2 3 (")
        link.say()
        link.hear()

    child = fork(rename)
    child.link.hear()
    (found,) = usage([child.pid])
    assert found.rss_bytes == pytest.approx(stat(child.pid)[1], rel=0.01)
    child.link.say()
    child.check()


def test_nobody(monkeypatch):
    """A process that is gone uses nothing that is known; nor does any where there is no /proc."""
    assert usage([]) == []
    assert usage([2**22 + 1]) == [UNKNOWN]
    monkeypatch.delattr(_native, "_diag", raising=False)
    monkeypatch.setitem(sys.modules, "gunicorn_raindrops._native._diag", None)
    monkeypatch.setattr(processes, "load", processes.load.__wrapped__)
    assert usage([os.getpid()]) == [UNKNOWN]
