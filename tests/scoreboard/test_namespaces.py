"""PID namespaces, real ones, made by unshare(1): a pid means something in its own only."""

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gunicorn_raindrops._native._scoreboard import lib
from gunicorn_raindrops.counting import attached, request, slots
from gunicorn_raindrops.scoreboard import exits
from gunicorn_raindrops.scoreboard.board import Scoreboard

from ..bounds import WAIT

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _can_unshare():
    if sys.platform != "linux" or not shutil.which("unshare"):
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=WAIT).returncode == 0


pytestmark = pytest.mark.skipif(
    not _can_unshare(), reason="needs Linux, unshare(1), and the right to make PID namespaces"
)

COMMON = """
import json, os, signal, sys
from gunicorn_raindrops._native._scoreboard import lib
from gunicorn_raindrops.counting import slots
from gunicorn_raindrops.scoreboard.board import Scoreboard
from gunicorn_raindrops.scoreboard.reader import open_read_only

def say(*what):
    print(json.dumps(what), flush=True)

def figures(board):
    reading = board.read()
    return [[row.slot, row.calling] for row in reading.rows], reading.requests

say(os.getpid(), lib.grd_pid_namespace())
"""


class Foreign:
    """A process in a PID namespace of its own, which runs some code."""

    def __init__(self, code, *args, pass_fds=()):
        command = [*UNSHARE, sys.executable, "-c", COMMON + code, *map(str, args)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pass_fds=pass_fds
        )
        self._heard = b""
        pid, self.namespace = self.hear()
        assert pid < 10, "it has a pid of its own"
        assert self.namespace != lib.grd_pid_namespace()

    def hear(self):
        """Return what it says next."""
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self._process.stdout], [], [], 30)
            assert ready, "it says nothing"
            self._heard += (more := self._process.stdout.read(4096))
            assert more, "it has ended"
        line, _, self._heard = self._heard.partition(b"\n")
        return json.loads(line)

    def go_on(self):
        """Let it go on where it reads a line."""
        self._process.stdin.write(b"\n")

    def end(self):
        """Have it end, which it must do well."""
        self._process.stdin.close()
        assert self._process.wait(WAIT) == 0
        self._process.stdout.close()

    def kill(self):
        """End it if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(WAIT)
            while select.select([self._process.stdout], [], [], 30)[0]:
                if not self._process.stdout.read(4096):  # the last of the namespace is gone
                    break
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()


@pytest.fixture
def foreign():
    """Return a function that starts a `Foreign`."""
    started = []

    def start(*args, **kwargs):
        started.append(Foreign(*args, **kwargs))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def serve(link, board, claim):
    """Be a worker with a request in flight."""
    assert attached.take_over(board, claim, 1, 1)
    attached.ready()
    request.begin("GET", "/here")
    link.say()
    link.hear()
    request.END["2"]()
    link.say()
    link.hear()


READ = """
source = sys.argv[1]
board = open_read_only(source if "/" in source else int(source))
shared = Scoreboard.adopt(os.open(source, os.O_RDWR) if "/" in source else int(source))
seen = set()
for _ in range(1000):
    seen.add(repr((figures(board), figures(shared), board.marks(60).calling)))
say(sorted(seen))
shared.reap()
say(*figures(shared))
"""


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_readers_in_another_namespace(tmp_path, fork, foreign, kind):
    """A thousand reads, read-only and through the shared memory, and even a reaping: not a byte
    changes, no living owner is freed, and its request is in the gauges."""
    path = str(tmp_path / "board") if kind == "file" else None
    board = Scoreboard(4, path)
    child = fork(serve, board, board.claim())
    assert child.link.hear()
    before = os.pread(board.fileno(), 2**24, 0)
    reader = foreign(READ, path or board.fileno(), pass_fds=[board.fileno()])
    assert reader.hear() == [["(([[0, 1]], 0), ([[0, 1]], 0), 1)"]]
    assert reader.hear() == [[[0, 1]], 0]
    reader.end()
    assert os.pread(board.fileno(), 2**24, 0) == before
    assert [row.pid for row in board.read().rows] == [child.pid]
    child.link.say()
    child.link.hear()
    assert (board.read().requests, board.read().rows[0].calling) == (1, 0)
    child.link.say()
    child.check()
    board.forget_file()


SHARE = """
board = slots.share(8, sys.argv[1])
mine = slots.BoardSlotOfProcess(board)
held, ticket = mine.begin("GET", "/foreign")
say(*figures(board))
child = os.fork()
if not child:
    mine.begin("GET", "/child")
    say("began")
    signal.pause()
sys.stdin.readline()
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
say(*figures(board))
sys.stdin.readline()
board.reap()
say(*figures(board))
sys.stdin.readline()
held.end(ticket, 2)
held.leave()
say(*figures(board))
sys.stdin.readline()
"""


def test_two_namespaces_share_a_file(tmp_path, foreign):
    """Each keeps the other's gauges as they are, alive or dead, and reaps its own; every request
    ends where it began."""
    path = str(tmp_path / "board")
    board = slots.share(8, path)
    mine = slots.BoardSlotOfProcess(board)
    held, ticket = mine.begin("GET", "/here")
    other = foreign(SHARE, path)
    assert other.hear() == [[[0, 1], [1, 1]], 0]
    assert other.hear() == ["began"]

    def figures():
        board.reap()
        reading = board.read()
        return [[row.slot, row.calling] for row in reading.rows], reading.requests

    assert figures() == ([[0, 1], [1, 1], [2, 1]], 0)
    other.go_on()
    # its child was killed: it knows, and leaves it out; here nobody can know
    assert other.hear() == [[[0, 1], [1, 1]], 0]
    assert figures() == ([[0, 1], [1, 1], [2, 1]], 0)
    other.go_on()
    assert other.hear() == [[[0, 1], [1, 1]], 0]
    assert figures() == ([[0, 1], [1, 1]], 0)
    held.end(ticket, 2)
    assert figures() == ([[0, 0], [1, 1]], 1)
    other.go_on()
    assert other.hear() == [[[0, 0]], 2]
    assert figures() == ([[0, 0]], 2)
    other.end()
    held.leave()
    assert figures() == ([], 2)
    board.forget_file()


def test_a_claim_of_another_namespace(tmp_path, foreign):
    """It counts as alive, though no process here has its pid, or another one does."""
    path = str(tmp_path / "board")
    board = slots.share(2, path)
    claimer = foreign(
        "board = slots.share(2, sys.argv[1])\n"
        "claim = board.claim(4_000_000)\n"
        "say(claim.slot)\n"
        "sys.stdin.readline()\n",
        path,
    )
    assert claimer.hear() == [0]
    board.reap()
    assert [row.slot for row in board.read().rows] == [0]
    assert board.claim().slot == 1
    claimer.end()
    board.forget_file()


def test_whoever_has_the_file_alone_frees_all(tmp_path, foreign):
    """Nobody else uses it then: owners in another namespace are gone with their server."""
    path = str(tmp_path / "board")
    server = foreign(
        "board = Scoreboard(2, sys.argv[1])\n"
        "slots.BoardSlotOfProcess(board).begin('GET', '/')\n"
        "say(*figures(board))\n"
        "os.kill(os.getpid(), signal.SIGKILL) if sys.stdin.readline() else None\n",
        path,
    )
    assert server.hear() == [[[0, 1]], 0]
    with pytest.raises(BlockingIOError):
        Scoreboard(2, path)
    server.kill()
    board = Scoreboard(2, path)
    assert board.read().rows == ()
    assert board.claim().slot == 0
    assert board.read().exits[exits.KILLED] == 1
    board.forget_file()
    # and the level of the marks knows of no request in flight
    level = Path(path).read_bytes()[1600:1608]
    assert int.from_bytes(level, sys.byteorder) % 2**40 == 0


def test_a_proc_of_another_namespace():
    """Where /proc was mounted in another namespace, its pids are others': nothing is read there."""
    unmounted = [word for word in UNSHARE if word != "--mount-proc"]
    code = (
        "import os\n"
        "from gunicorn_raindrops._native._scoreboard import lib\n"
        "assert os.getpid() == 1\n"
        "assert lib.grd_process_start(1) == 0, 'it lives, and does not tell'\n"
        "assert lib.grd_process_start(os.getppid() or 77) == -1\n"
        "assert lib.grd_process_runs(1)\n"
    )
    done = subprocess.run([*unmounted, sys.executable, "-c", code], timeout=WAIT)
    assert done.returncode == 0


def test_a_namespace_is_known_by_its_inode():
    """That of /proc/self/ns/pid."""
    assert lib.grd_pid_namespace() == Path("/proc/self/ns/pid").stat().st_ino
