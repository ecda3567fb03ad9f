"""The terminal is left as it was, also by signals that come all at once. The rest of the screen is
tried in tests/integration/test_top_command.py, in a whole terminal."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from gunicorn_raindrops.cli.top.screen import _LEAVE

from ...bounds import WAIT

pytestmark = pytest.mark.once

PROGRAM = """
import os, signal, sys
from gunicorn_raindrops.cli.terminal import outcome
from gunicorn_raindrops.cli.top.screen import Screen

SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]

def command():
    with Screen():
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for number in SIGNALS:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
sys.exit(outcome(command))
"""


def test_signals_at_once():
    """The first one ends the command; the others break nothing off."""
    ours, theirs = pty.openpty()
    try:
        before = termios.tcgetattr(theirs)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
            timeout=WAIT,
        )
        assert (done.returncode, done.stderr) == (129, "")
        assert termios.tcgetattr(theirs) == before
        assert os.read(ours, 4096).decode().endswith(_LEAVE)
    finally:
        os.close(ours)
        os.close(theirs)
