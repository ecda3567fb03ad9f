"""The command where it does not come as far as the screen."""

import builtins
import sys
from types import SimpleNamespace

import pytest

from gunicorn_raindrops import cli
from gunicorn_raindrops.cli import top
from gunicorn_raindrops.cli.terminal import Failed
from gunicorn_raindrops.cli.top import screen

pytestmark = pytest.mark.once


@pytest.fixture
def terminal(monkeypatch):
    """Have the standard streams pass for a terminal."""
    stream = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(screen, "sys", SimpleNamespace(stdin=stream, stdout=stream))
    monkeypatch.setenv("TERM", "xterm")


def fails(capsys, *arguments):
    """Return the line that it fails with."""
    assert cli.main(["top", *arguments]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_no_terminal(capsys):
    """It says so, and what else there is."""
    assert "status shows" in fails(capsys)


def test_a_terminal_that_is_none(capsys, terminal, monkeypatch):
    """Its cursor cannot be moved."""
    monkeypatch.setenv("TERM", "dumb")
    assert "TERM" in fails(capsys, "--pid", "1")


def test_no_rich(capsys, terminal, monkeypatch):
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "rich", None)
    assert "pip install gunicorn-raindrops[top]" in fails(capsys, "--pid", "1")


@pytest.mark.parametrize("arguments", [["--pid", str(2**22)], ["127.0.0.1:1"], ["unix:/nowhere"]])
def test_no_server(capsys, terminal, arguments):
    """As for `status`; the terminal is never taken."""
    fails(capsys, *arguments)


@pytest.mark.parametrize("arguments", [["localhost"], ["--pid", "x"], ["-d", "0"], ["a:1", "b:2"]])
def test_usage_errors(capsys, arguments):
    """They are told, with exit status 2."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(["top", *arguments])
    assert capsys.readouterr().out == ""


def test_a_choice(capsys, monkeypatch):
    """The only server there is, or the one that the user says."""
    servers = [
        SimpleNamespace(is_gunicorn=True, pids=(pid,), folder="/a\x1b[2J", listeners=list)
        for pid in (5, 6)
    ]
    assert top._choose(servers[:1]) is servers[0]
    monkeypatch.setattr(builtins, "input", lambda _: " 2 ")
    assert top._choose(servers) is servers[1]
    shown = capsys.readouterr().out
    assert "2  arbiter 6 in /a\\x1b[2J: no listener\n" in shown
    for answer in ("", "0", "3", "x", "9" * 5000):
        monkeypatch.setattr(builtins, "input", lambda _, answer=answer: answer)
        with pytest.raises(Failed, match="none is chosen"):
            top._choose(servers)
