"""Finding servers by their scoreboards; each server here is a process with one, and children."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gunicorn_raindrops.cli import find, proc
from gunicorn_raindrops.cli.terminal import Failed
from gunicorn_raindrops.scoreboard import layout
from gunicorn_raindrops.scoreboard.board import Scoreboard

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
]


def ignore(line):
    """Other servers may be there, of any format."""


def arbiter(link, file=None, workers=1):
    """Be an arbiter with workers that have closed their descriptors, as workers do."""
    board = Scoreboard(4, file)
    board.want(workers)
    lines = [os.pipe() for _ in range(workers)]
    for ours, theirs in lines:
        pid = os.fork()
        if not pid:
            board.forget_file()
            for line in lines:
                os.close(line[1])
            os.read(ours, 1)
            os._exit(0)
        link.say(b"%d" % pid)
        del theirs
    link.say(b"ready")
    link.hear()
    for _, theirs in lines:
        os.close(theirs)
    for _ in lines:
        os.wait()


def started(fork, *args, workers=1):
    child = fork(arbiter, *args, workers)
    pids = [int(child.link.hear()) for _ in range(workers)]
    assert child.link.hear() == b"ready"
    return child, pids


def ended(child):
    child.link.say()
    child.check()


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_of(fork, tmp_path, kind):
    """By the arbiter or a worker, the same server; a file is known by what is in it."""
    child, (worker,) = started(fork, str(tmp_path / "board") if kind == "file" else None)
    for pid in (child.pid, worker):
        server = find.of(pid)
        assert (server.pids, server.is_gunicorn) == ((child.pid,), True)
        assert server.board.read().workers_wanted == 1
        assert server.folder == str(Path.cwd())
    ended(child)


def test_find(fork, tmp_path):
    """Each of all that there are, once; workers are no servers."""
    some = [started(fork, None, workers=2)[0], started(fork, str(tmp_path / "board"))[0]]
    found = [server.pids for server in find.find(ignore)]
    for child in some:
        assert found.count((child.pid,)) == 1
    ours = {pid for pids in found for pid in pids}
    assert ours & set(map(int, _children())) == {child.pid for child in some}
    for child in some:
        ended(child)


def _children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


def test_two_arbiters(fork):
    """During an upgrade both have one scoreboard: it is one server, whichever is asked for."""

    def upgrade(link):
        board = Scoreboard(4)
        board.want(1)
        pid = os.fork()
        if not pid:
            board.want(2)
        link.say(b"%d" % os.getpid())
        link.hear()
        if pid:
            os.wait()
        else:
            os._exit(0)

    child = fork(upgrade)
    both = {int(child.link.hear()), int(child.link.hear())}
    other = (both - {child.pid}).pop()
    assert find.of(child.pid).pids == (child.pid, other)
    assert find.of(other).pids == (other, child.pid)
    (pids,) = [one.pids for one in find.find(ignore) if other in one.pids]
    assert set(pids) == both
    child.link.say()
    child.link.say()
    child.check()


def test_without_an_arbiter(fork):
    """Each process of another server has the scoreboard open; the first one is shown."""

    def serve(link):
        board = Scoreboard(4)
        pid = os.fork()
        link.say(b"%d" % os.getpid())
        link.hear()
        if not pid:
            os._exit(0)
        os.wait()
        board.forget_file()

    child = fork(serve)
    both = {int(child.link.hear()), int(child.link.hear())}
    for pid in both:
        server = find.of(pid)
        assert server.pids[0] in both and not server.is_gunicorn
    assert [one.pids for one in find.find(ignore) if child.pid in one.pids] == [(child.pid,)]
    child.link.say()
    child.link.say()
    child.check()


def changed(link, at, text):
    """Have a scoreboard whose header says something else."""
    board = Scoreboard(4)
    os.pwrite(board.fileno(), text, at)
    link.say()
    link.hear()


@pytest.mark.parametrize(
    ("at", "text", "said"),
    [
        (8, (99).to_bytes(4, sys.byteorder), f"format 99, this is format {layout.VERSION}"),
        (0, b"unicorns", "not a scoreboard"),
        (20, (1 << 20).to_bytes(4, sys.byteorder), "damaged"),
    ],
)
def test_another_format(fork, at, text, said):
    """It is named, and not read; others are found all the same."""
    other = fork(changed, at, text)
    other.link.hear()
    child, _ = started(fork)
    with pytest.raises(Failed, match=f"^process {other.pid}: .*{said}"):
        find.of(other.pid)
    lines = []
    found = find.find(lines.append)
    assert (child.pid,) in [server.pids for server in found]
    (line,) = [line for line in lines if f"process {other.pid}:" in line]
    assert said in line
    ended(child)


def test_a_stranger_s_memory(fork):
    """It has our name and is cut short while it is read: this process lives, and it is told."""

    def pretend(link):
        board = Scoreboard(4)
        whole = os.pread(board.fileno(), 1 << 20, 0)
        fd = os.memfd_create(layout.NAME)
        os.write(fd, whole)
        board.forget_file()
        link.say()
        link.hear()
        os.ftruncate(fd, 0)
        link.say()
        link.hear()

    child = fork(pretend)
    child.link.hear()
    server = find.of(child.pid)
    child.link.say()
    child.link.hear()
    with pytest.raises(OSError, match="cut short"):
        server.board.read()


def test_no_server(monkeypatch):
    """Each reason is told in one line: no process, a dead one, a stranger, nobody at all."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as stranger:
        with pytest.raises(Failed, match=f"process {stranger.pid} uses no scoreboard"):
            find.of(stranger.pid)
        monkeypatch.setattr(proc, "pids", lambda: [stranger.pid])
        with pytest.raises(Failed, match=r"no server with gunicorn-raindrops is found$"):
            find.find(ignore)
        stranger.kill()
        os.waitid(os.P_PID, stranger.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(Failed, match=f"no process {stranger.pid}"):
            find.of(stranger.pid)
    with pytest.raises(Failed, match="no process 4194304"):
        find.of(2**22)
    with pytest.raises(Failed, match=r"no server with gunicorn-raindrops is found$"):
        find.find(ignore)


def test_a_process_that_may_not_be_looked_at(fork, monkeypatch):
    """It is told in one line; among all, that root would see more."""

    def refuse(pid):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(proc, "scoreboards", refuse)
    with pytest.raises(Failed, match=f"this user may not look at process {os.getpid()}"):
        find.of(os.getpid())
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Failed, match="is found; root sees those of other users"):
        find.find(ignore)
