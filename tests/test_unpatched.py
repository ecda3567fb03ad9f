"""The interpreter's own threads and waiting, in processes that gevent or eventlet have patched."""

import importlib.util
import subprocess
import sys

import pytest

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}
LATE = """
import gunicorn_raindrops.status.thread
{patch}
"""
EARLY = """
{patch}
import gunicorn_raindrops.status.thread
"""
CHECK = """
import _thread, time
from types import BuiltinFunctionType
from gunicorn_raindrops import unpatched
assert unpatched.is_patched()
for module, name in [("_thread", "start_new_thread"), ("time", "sleep"), ("select", "poll")]:
    assert isinstance(unpatched.original(module, name), BuiltinFunctionType), name
assert not isinstance(time.sleep, BuiltinFunctionType)

# A thread that runs while the hub is blocked is one of the interpreter's.
ran = []
unpatched.original("_thread", "start_new_thread")(ran.append, (_thread.get_ident(),))
until = time.monotonic() + 10
while not ran and time.monotonic() < until:
    pass
assert ran
"""


def run(code):
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def need(library):
    """Skip where a library is missing; eventlet must not be imported here, where tests fork."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")


@pytest.mark.parametrize("when", [LATE, EARLY], ids=["late", "early"])
@pytest.mark.parametrize("library", PATCHES)
def test_originals(library, when):
    """They can be had whenever the process was patched, before our import or after it."""
    need(library)
    run(when.format(patch=PATCHES[library]) + CHECK)


@pytest.mark.parametrize("library", [*PATCHES, None])
def test_unpatched(library):
    """A library that is only imported has patched nothing: everything is the module's own."""
    if library is not None:
        need(library)
    imported = {"gevent": "import gevent.monkey", "eventlet": "import eventlet", None: ""}[library]
    run(
        f"{imported}\n"
        "import time\n"
        "from gunicorn_raindrops import unpatched\n"
        "assert not unpatched.is_patched()\n"
        "assert unpatched.original('time', 'sleep') is time.sleep\n"
    )
