"""The command `listeners`, run as a process."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gunicorn_raindrops.cli import listeners as cli_listeners

from ..bounds import WAIT
from ..listeners.listening import Lab, address, port

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="sock_diag is Linux's"),
]

PROGRAM = """
import argparse, signal, sys
from gunicorn_raindrops.cli import listeners as cli_listeners
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
parser = argparse.ArgumentParser(prog="gunicorn-raindrops")
cli_listeners.add_parser(parser.add_subparsers())
sys.exit(cli_listeners.run(parser.parse_args()))
"""
HEAD = ["timestamp", "address", "active", "queued", "waiting", "backlog", "dropped"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "listeners", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def run(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=WAIT)
    return process.returncode, out, err


def busy(lab: Lab, accepted: int = 1, waiting: int = 2) -> socket.socket:
    listener = lab.listen(backlog=7)
    for _ in range(accepted):
        lab.connect("127.0.0.1", port(listener))
        lab.accept(listener)
    for _ in range(waiting):
        lab.connect("127.0.0.1", port(listener))
    return listener


def test_columns(lab: Lab) -> None:
    """A head, a line each with a timestamp in UTC, all in columns."""
    one, other = busy(lab), lab.listen("::1")
    lab.connect("::1", port(other)).sendall(b"GET")
    lab.accept(other)
    path = lab.enter_context(socket.socket(socket.AF_UNIX))
    name = f"@grd-{os.getpid()}-\x1b[31m"
    path.bind("\0" + name[1:])
    path.listen(3)
    status, out, err = run(address(one), address(other), f"unix:{name}")
    head, *lines = out.splitlines()
    assert (status, err) == (0, "")
    assert head.split() == HEAD
    assert [line.split()[1:] for line in lines] == [
        [address(one), "1", "2", "0", "7", "0"],
        [address(other), "1", "0", "1", "16", "0"],
        [name.replace("\x1b", "\\x1b"), "0", "0", "0", "3", "-"],
    ]
    assert len({len(line) for line in [head, *lines]}) == 1
    assert all(len(line.split()[0]) == 20 and line.split()[0][-1] == "Z" for line in lines)


def test_all(lab: Lab) -> None:
    """Without an address, and with -a beside one, every listener is shown."""
    one, other = busy(lab), lab.listen()
    nobody = "127.0.0.1:1"
    for arguments, expected in (
        ([], {address(one), address(other)}),
        (["-a", nobody], {address(one), address(other), nobody}),
    ):
        status, out, _ = run(*arguments)
        assert status == 0
        assert expected <= {line.split()[1] for line in out.splitlines()}


def test_threshold(lab: Lab) -> None:
    """-t leaves out listeners with shorter queues."""
    one, other = busy(lab, waiting=2), busy(lab, waiting=1)
    _, out, _ = run("-t", "2", address(one), address(other))
    assert [line.split()[1] for line in out.splitlines()] == ["address", address(one)]


def test_json(lab: Lab) -> None:
    """--json writes one object a line; what is not known is null."""
    one = busy(lab)
    status, out, _ = run("--json", address(one), "/nowhere")
    assert status == 0
    first, second = map(json.loads, out.splitlines())
    assert first.pop("time") > 1e9
    figures = {"active": 1, "queued": 2, "waiting": 0, "backlog": 7, "dropped": 0}
    assert first == {"address": address(one), **figures}
    assert second["address"] == "/nowhere" and second["dropped"] is None


def test_it_goes_on_until_interrupted(lab: Lab) -> None:
    """-d repeats, with one head; Ctrl-C ends it without a word."""
    one = busy(lab)
    process = start("-d", "0.01", address(one))
    assert process.stdout
    lines = [process.stdout.readline() for _ in range(6)]
    assert lines[0].split() == HEAD
    assert {line.split()[1] for line in lines[1:]} == {address(one)}
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, err) == (130, "")
    assert HEAD[0] not in out


def test_a_closed_pipe_ends_it(lab: Lab) -> None:
    """When nobody reads any more it ends without a word."""
    process = start("-d", "0.01", address(busy(lab)))
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=WAIT) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_warning_for_wildcards(lab: Lab) -> None:
    """Whoever asks for 127.0.0.1 where only 0.0.0.0 listens is told so, once."""
    wildcard = lab.listen("0.0.0.0")
    exact = f"127.0.0.1:{port(wildcard)}"
    status, out, err = run(exact)
    assert status == 0
    assert exact in out
    assert err.count("\n") == 1 and address(wildcard) in err
    assert run(address(wildcard))[2] == ""
    assert run("127.0.0.1:1")[2] == ""
    assert run(address(lab.listen()))[2] == ""


@pytest.mark.parametrize(
    "arguments",
    [["localhost:80"], ["80"], ["-d", "0"], ["-d", "x"], ["-d", "nan"], ["-t", "-1"], ["-t", "x"]],
)
def test_usage_errors(arguments: list[str]) -> None:
    """Bad arguments are named, with exit status 2."""
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert repr(arguments[-1]) in err and "Traceback" not in err


def test_a_pause_is_not_caught_up_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stop (Ctrl-Z, a suspended machine) it shows one reading, not all that it missed."""
    clock, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += 100 if len(slept) == 1 else seconds
        if len(slept) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli_listeners.time, "sleep", sleep)
    monkeypatch.setattr(cli_listeners.time, "monotonic", lambda: clock[0])
    parser = argparse.ArgumentParser()
    cli_listeners.add_parser(parser.add_subparsers())
    assert cli_listeners.run(parser.parse_args(["listeners", "-d", "1", "127.0.0.1:1"])) == 130
    assert slept == [1, 0, 1, 1]


def test_output_that_is_closed() -> None:
    """Without a standard output at all (`>&-`) there is nobody to tell: quietly 0, as a pipe."""
    command = [sys.executable, "-c", PROGRAM, "listeners", "127.0.0.1:1"]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, cwd=ROOT, timeout=WAIT
    )
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_output_that_lacks_a_letter() -> None:
    """A name that the terminal's encoding has no letters for is escaped."""
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        "listeners",
        "/caf\N{LATIN SMALL LETTER E WITH ACUTE}",
    ]
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    shown = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=WAIT, env=env)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert b"/caf\\xe9" in shown.stdout


def test_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What the kernel refuses is one line, with exit status 1."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(cli_listeners, "tcp_listener_stats", refuse)
    parser = argparse.ArgumentParser()
    cli_listeners.add_parser(parser.add_subparsers())
    assert cli_listeners.run(parser.parse_args(["listeners", "127.0.0.1:80"])) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "gunicorn-raindrops: [Errno 1] Operation not permitted\n"
