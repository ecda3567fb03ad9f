"""What the tests rely on: rewritten files are run, gunicorn 23's own traceback is known."""

import io
import logging
import subprocess
import sys

import pytest

from .bounds import WAIT
from .conftest import settled
from .integration.servers import ROOT, rewrite, tracebacks


def test_a_file_rewritten_within_a_second_is_run_anew(tmp_path):
    """Whatever its size and however soon: no stale bytecode."""
    module = tmp_path / "module.py"
    command = [sys.executable, "-c", "import module; print(module.value)"]
    env = {"PYTHONPATH": str(tmp_path)}  # and nothing that forbids bytecode
    for value in range(5):
        rewrite(module, f"value = {value}\n")
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, check=True, timeout=WAIT
        )
        assert done.stdout == f"{value}\n"
    assert list(tmp_path.glob("__pycache__/*.pyc"))


def logged(error):
    """Return what logging prints when its stream raises."""

    class Stream(io.StringIO):
        def write(self, text):
            raise error

    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        logging.StreamHandler(Stream()).handle(
            logging.LogRecord("gunicorn.error", logging.INFO, "", 1, "Worker exiting", None, None)
        )
        return sys.stderr.getvalue().splitlines()
    finally:
        sys.stderr = stderr


REENTRANT = RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")


@pytest.mark.parametrize(
    ("error", "gunicorn", "unexpected"),
    [
        (REENTRANT, "23", 0),
        (REENTRANT, "current", 1),
        (RuntimeError("another"), "23", 1),
        (OSError("reentrant call inside something"), "23", 1),
    ],
)
def test_the_traceback_that_is_gunicorns(error, gunicorn, unexpected):
    """Before 24 it logs from a signal handler; that one, and only that one, is passed over."""
    log = ["[INFO] Booting worker", *logged(error), "[INFO] Handling signal: term"]
    assert tracebacks(log, gunicorn) == unexpected
    log += ["Traceback (most recent call last):", '  File "a.py", line 1', "ValueError: x"]
    assert tracebacks(log, gunicorn) == unexpected + 1


def test_what_is_ending_is_waited_for():
    """And what stays is shown as it is, after a bounded wait."""
    seen = iter([3, 2, 1])
    assert settled(lambda: next(seen), 1) == 1


@pytest.mark.once
@pytest.mark.parametrize("name", ["matrix", "pythons", "screenshots"])
def test_what_make_runs_can_be_imported(name):
    """In the way in which its target starts it."""
    makefile = (ROOT / "Makefile").read_text()
    if f"-m tests.{name}" in makefile:
        command = ["-c", f"import tests.{name}"]
    else:
        assert f"tests/{name}.py" in makefile
        command = ["-c", f"import sys; sys.path[0] = 'tests'; import {name}"]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, timeout=60)
