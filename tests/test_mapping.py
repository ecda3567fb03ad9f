"""Pages of named files: whose file it may be, and whoever cuts it short, no process dies of it."""

import os
import signal
import subprocess
import sys

import pytest

from gunicorn_raindrops import Histogram, Raindrops
from gunicorn_raindrops.counting import slots
from gunicorn_raindrops.scoreboard.board import Scoreboard

from .bounds import WAIT

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
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == (-signal.SIGBUS if dies else 0), done.stderr
    assert done.stderr.count(DUMP) == int(dumps)


def link(path):
    path.with_suffix(".of-others").write_bytes(b"")
    path.symlink_to(path.with_suffix(".of-others"))


def dangle(path):
    path.symlink_to(path.with_suffix(".missing"))


def link_hard(path):
    path.with_suffix(".of-others").write_bytes(b"")
    path.hardlink_to(path.with_suffix(".of-others"))


def give_away(path):
    path.write_bytes(b"")
    os.chown(path, 12345, -1)


def open_to_group(path):
    path.write_bytes(b"")
    path.chmod(0o660)


def open_to_all(path):
    path.write_bytes(b"")
    path.chmod(0o602)


USES = {
    "Raindrops": lambda path: Raindrops(4, file=path),
    "Histogram": lambda path: Histogram(file=path),
    "Scoreboard": lambda path: Scoreboard(4, str(path)),
    "share": lambda path: slots.share(4, str(path)),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (link, "symbolic link"),
        (dangle, "symbolic link"),
        (link_hard, "2 hard links"),
        (give_away, "belongs to user 12345"),
        (open_to_group, "written by others"),
        (open_to_all, "written by others"),
    ],
)
def test_files_of_strangers(tmp_path, use, plant, says):
    """A path must name this user's own file. Nothing is written, nothing is made."""
    if plant is give_away and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    path = tmp_path / "shared"
    plant(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(PermissionError, match=says):
        use(path)
    assert sorted(tmp_path.iterdir()) == before
    assert all(file.stat().st_size == 0 for file in before if plant is not dangle)


def test_a_descriptor_is_the_callers_choice(tmp_path):
    """So is a file object: it may have any name."""
    link(tmp_path / "shared")
    with open(tmp_path / "shared", "r+b") as file, Raindrops(1, file=file) as rd:
        assert rd.incr(0) == 1


@pytest.mark.parametrize(
    "use",
    [lambda path: Raindrops(4096, file=path), lambda path: Scoreboard(16, str(path))],
    ids=["Raindrops", "Scoreboard"],
)
def test_a_sparse_copy_gets_its_blocks(tmp_path, use):
    """On a full disk it is refused at once, and not by whichever process touches a hole."""
    path, sparse = tmp_path / "shared", tmp_path / "sparse"
    made = [use(path)]
    size = path.stat().st_size
    sparse.write_bytes(path.read_bytes()[:4096])
    os.truncate(sparse, size)
    assert sparse.stat().st_blocks * 512 < size
    made.append(use(sparse))
    assert sparse.stat().st_blocks * 512 >= size
    for one in made:
        one.forget_file() if isinstance(one, Scoreboard) else one.close()


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
