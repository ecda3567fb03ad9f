"""Pages of named files: whoever cuts the file short, no process dies of it."""

import os
import signal
import subprocess
import sys

import pytest

from gunicorn_raindrops import Histogram, Raindrops

CUT = """
import faulthandler, mmap, os, signal, sys
from gunicorn_raindrops import Raindrops

def cut():
    os.truncate(sys.argv[1], 0)
    assert rd.incr(0) == 1      # in zero pages of this process's own

def another():
    with open(sys.argv[1] + ".other", "w+b") as file:
        file.truncate(4096)
        pages = mmap.mmap(file.fileno(), 4096)
        file.truncate(0)
        return pages[0]

def block():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGBUS])

def send():
    os.kill(os.getpid(), signal.SIGBUS)

rd = Raindrops(4, file=sys.argv[1])
watch = rd._mapping.watch
for step in sys.argv[2].split():
    eval(step if "." in step else step + "()")
"""
DUMP = "Fatal Python error: Bus error"


@pytest.mark.parametrize(
    ("steps", "dies", "dumps"),
    [
        ("cut", False, False),
        ("faulthandler.enable() cut", False, True),
        ("faulthandler.enable() watch cut", False, False),
        ("faulthandler.enable() watch watch cut", False, False),
        ("block watch cut", False, False),
        ("send", True, False),
        ("another", True, False),
        ("cut another", True, False),
        ("faulthandler.enable() send", True, True),
        ("faulthandler.enable() another", True, True),
        ("faulthandler.enable() watch send", True, True),
        ("faulthandler.enable() watch another", True, True),
        ("faulthandler.enable() watch cut another", True, True),
    ],
)
def test_who_gets_the_signal(tmp_path, steps, dies, dumps):
    """We get what our files cause, also behind another handler. The rest is the others', once."""
    command = [sys.executable, "-c", CUT, str(tmp_path / "counters"), steps]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == (-signal.SIGBUS if dies else 0), done.stderr
    assert done.stderr.count(DUMP) == int(dumps)


@pytest.mark.parametrize(
    "make", [lambda file: Raindrops(4, file=file), lambda f: Histogram(file=f)]
)
def test_a_file_is_guarded_by_whatever_maps_it(tmp_path, make):
    """A child counts on after the cut."""
    shared = make(tmp_path / "shared")
    os.truncate(tmp_path / "shared", 0)
    pid = os.fork()
    if pid == 0:
        shared.incr(0) if isinstance(shared, Raindrops) else shared.record(1.0)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
