"""The command `status`, run as a process; of a server only its scoreboard is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gunicorn_raindrops import cli
from gunicorn_raindrops.counting import attached, request, slots
from gunicorn_raindrops.scoreboard.board import Scoreboard

from ..schema import check

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
]

ROOT = Path(__file__).parents[2]
HOSTILE = "/\x1b[2J\n\x07\u202e'\"caf\u00e9" + "x" * 8192


def run(*arguments, shell='exec "$@"', **variables):
    command = ["sh", "-c", shell, "sh", sys.executable, "-m", "gunicorn_raindrops", "status"]
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | variables
    done = subprocess.run(
        [*command, *arguments], capture_output=True, cwd=ROOT, env=env, timeout=60
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def serve(link, path):
    """Be an arbiter and its only worker, in a request with some path."""
    board = Scoreboard(4)
    board.want(1)
    assert attached.take_over(board, board.claim(), 1, 1)
    attached.ready()
    request.begin("GET", path)
    link.say()
    link.hear()


def test_one_server(fork):
    """The text URL's lines, then the workers; as JSON the document of PATH.json."""
    child = fork(serve, "/slow")
    child.link.hear()
    status, out, err = run("--pid", str(child.pid))
    assert (status, err) == (0, "")
    *figures, empty, head, worker = out.splitlines()
    assert (figures, empty) == (["calling: 1", "writing: 0"], "")
    assert head.split()[:4] == ["slot", "pid", "age", "state"]
    assert worker.split()[:4] == ["0", str(child.pid), "1", "calling"]
    assert worker.endswith("GET /slow")
    _, out, _ = run("--pid", str(child.pid), "--json")
    found = check(json.loads(out))
    assert (found["calling"], found["arbiter"]["pid"]) == (1, child.pid)
    assert found["workers"][0]["rss_bytes"] > 1e6


def test_all_servers(fork):
    """Each under its pid and its folder; as JSON a list of documents."""
    pids = []
    for path in ("/one", "/other"):
        child = fork(serve, path)
        child.link.hear()
        pids.append(child.pid)
    status, out, _ = run()
    assert status == 0
    for pid, path in zip(pids, ("/one", "/other"), strict=True):
        _, _, rest = out.partition(f"arbiter {pid} in {Path.cwd()}: no listener\n")
        assert rest.partition("\n\n")[2].partition("\n\n")[0].rstrip().endswith(f"GET {path}")
    status, out, _ = run("--json")
    found = {one["arbiter"]["pid"]: one for one in json.loads(out)}  # and other tests' servers
    assert status == 0
    assert [check(found[pid])["calling"] for pid in pids] == [1, 1]


def test_processes_that_share_a_file(fork, tmp_path, capsys):
    """Those of a server without an arbiter, none of which is the others' parent."""

    def share(link):
        board = slots.share(4, str(tmp_path / "board"))
        link.say()
        link.hear()
        board.forget_file()

    pids = []
    for _ in range(2):
        child = fork(share)
        child.link.hear()
        pids.append(child.pid)
    assert cli.main(["status"]) == 0
    said = f"processes {min(pids)}, {max(pids)} in {Path.cwd()}: no listener\n"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variables", "width", "shown"),
    [
        ({}, 200, "\\x1b[2J\\n\\x07\\u202e'\"caf\u00e9xxx"),
        ({"COLUMNS": "70"}, 70, "\u2026"),
        ({"LC_ALL": "C", "COLUMNS": "70"}, 70, "..."),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, 200, "caf\\xe9xxx"),
    ],
)
def test_hostile_paths(fork, variables, width, shown):
    """They are escaped, and cut to the terminal's width, in the letters that it has."""
    child = fork(serve, HOSTILE)
    child.link.hear()
    status, out, err = run("--pid", str(child.pid), **({"LC_ALL": "C.UTF-8"} | variables))
    assert (status, err) == (0, "")
    assert all(line.isprintable() and len(line) <= width for line in out.splitlines())
    assert shown in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["localhost"], "'localhost' is not"),
        (["--pid", "x"], "'x' is not"),
        (["--pid", "0"], "'0' is not"),
        (["--pid", "-1"], "'-1' is not"),
        (["--pid", "9" * 5000], "is not a process"),
        (["--pid", "1", "localhost:80"], "not allowed"),
    ],
)
def test_usage_errors(capsys, arguments, said):
    """They are told, with exit status 2."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(["status", *arguments])
    out, err = capsys.readouterr()
    assert out == "" and said in err


def test_errors(capsys):
    """One line, with exit status 1."""
    for arguments in (["--pid", str(2**22)], ["unix:/nowhere"], ["127.0.0.1:1"]):
        assert cli.main(["status", *arguments]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("gunicorn-raindrops: ") and err.count("\n") == 1


def test_a_closed_pipe(fork):
    """It ends without a word, and with status 0."""
    child = fork(serve, "/")
    child.link.hear()
    shell = 'exec 3>&1; { "$@"; echo $? >&3; } | :'
    assert run("--pid", str(child.pid), shell=shell) == (0, "0\n", "")
