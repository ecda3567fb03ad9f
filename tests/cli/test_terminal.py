"""How the subcommands end, and how wide their lines are."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gunicorn_raindrops.cli.terminal import Failed, fit, outcome

from ..bounds import WAIT

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("exactly", 7, "exactly"),
        ("one too many", 11, "one too ma\u2026"),
        ("\u65e5\u672c\u8a9e", 6, "\u65e5\u672c\u8a9e"),
        ("\u65e5\u672c\u8a9e", 5, "\u65e5\u672c\u2026"),
        ("e\u0301" * 5, 5, "e\u0301" * 5),
        ("\x1b[31m", 8, r"\x1b[31m"),
        ("\x1b[31m", 7, r"\x1b[3" + "\u2026"),
        ("a\x1b", 4, "a\u2026"),
        ("GET /" + "\x07" * 8192, 20, r"GET /\x07\x07\x07" + "\u2026"),
    ],
)
def test_fit(text, width, shown):
    """A line is cut where the terminal ends, never within an escape or a wide letter."""
    assert fit(text, width, is_ascii=False) == shown


def test_fit_in_ascii():
    """Where there is no UTF-8, other letters are escaped before the line is cut."""
    assert fit("caf\u00e9 \u65e5", 14, is_ascii=True) == r"caf\xe9 \u65e5"
    assert fit("caf\u00e9 \u65e5", 13, is_ascii=True) == r"caf\xe9 ..."


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (None, 0, ""),
        (KeyboardInterrupt(), 130, ""),
        (Failed("no\nserver"), 1, "gunicorn-raindrops: no\\nserver\n"),
        (OSError("broken"), 1, "gunicorn-raindrops: broken\n"),
    ],
)
def test_outcome(capsys, raised, status, said):
    """An error is one line, whatever is in it."""

    def command():
        if raised:
            raise raised

    assert outcome(command) == status
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("redirect", "status"), [(">&-", 0), (">&- 2>&-", 0), ("2>&-", 0), (">/dev/full", 1)]
)
def test_output_that_is_not_there(redirect, status):
    """It ends with a status, not with a traceback."""
    code = "import sys; from gunicorn_raindrops.cli.terminal import *\n"
    code += "sys.exit(outcome(lambda: print('a line')))"
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=WAIT)
    assert done.returncode == status
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == status


INTERRUPTED_TWICE = """
import atexit, os, signal, sys
from gunicorn_raindrops.cli.terminal import outcome

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def command():
    try:
        interrupt()
    finally:
        interrupt()
        print("ended")

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
atexit.register(interrupt)
sys.exit(outcome(command))
"""


def test_a_second_interrupt():
    """One that comes while the command ends does nothing."""
    code = [sys.executable, "-c", INTERRUPTED_TWICE]
    root = Path(__file__).parents[2]
    done = subprocess.run(code, capture_output=True, text=True, cwd=root, timeout=WAIT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "ended\n", "")


def test_the_handler_of_interrupts():
    """Is the caller's again after a command that none has come to; one that is ignored stays so."""
    for handler in (signal.default_int_handler, signal.SIG_IGN):
        before = signal.signal(signal.SIGINT, handler)
        try:
            assert outcome(lambda: None) == 0
            assert signal.getsignal(signal.SIGINT) is handler
        finally:
            signal.signal(signal.SIGINT, before)
