"""The command `top` in a real terminal (tmux's), on real servers: what is on the screen, and what
is left of it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gunicorn_raindrops.cli import find
from gunicorn_raindrops.cli.top.source import ByPid, Ended

from ..bounds import WAIT
from .servers import BROKEN, ROOT, eventually

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's"),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux"),
]

COMMAND = f"{sys.executable} -m gunicorn_raindrops top"
PROMPT = "ready> "


class Terminal:
    """A terminal of tmux's, with a shell in it; use it in `with`."""

    def __init__(self, folder):
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", os.devnull]

    def __enter__(self):
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        env |= {"LC_ALL": "C.UTF-8", "PS1": PROMPT, "SHELL": "/bin/sh"}
        new = [
            "new-session",
            "-d",
            "-s",
            "t",
            "-x",
            "80",
            "-y",
            "24",
            "-c",
            str(ROOT),
            "exec /bin/sh",
        ]
        subprocess.run([*self._tmux, "-u", *new], env=env, check=True, timeout=WAIT)
        self.shows(PROMPT.strip())
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print("\n".join(self.screen()))
        self.tmux("kill-server")

    def tmux(self, *arguments):
        """Run a command of tmux's, and return what it says."""
        command = [*self._tmux, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=WAIT
        ).stdout.removesuffix("\n")

    def screen(self):
        """Return the lines on the screen."""
        return self.tmux("capture-pane", "-p", "-t", "t").split("\n")

    def type(self, text):
        """Type a command."""
        self.tmux("send-keys", "-t", "t", "-l", text)
        self.press("Enter")

    def press(self, *keys):
        """Press keys, by tmux's names."""
        self.tmux("send-keys", "-t", "t", *keys)

    def shows(self, pattern, lines=slice(None)):
        """Wait until some lines have a pattern, and return its match."""
        return eventually(
            lambda: re.search(pattern, "\n".join(self.screen()[lines]), re.M),
            lambda: f"{pattern!r} on\n" + "\n".join(self.screen()),
        )

    def state(self):
        """Return what must be as before: the line settings, cursor, screen, wrapping."""
        self.type("clear; stty -a; echo E$((6*7))")
        self.shows(r"^E42\nready>")
        flags = self.tmux("display", "-p", "-t", "t", "#{cursor_flag} #{alternate_on} #{wrap_flag}")
        return [flags, *self.screen()]

    def start(self, arguments, variables=""):
        """Start the command, and wait for its second sample; return its pid."""
        self.type(f"clear; {variables} {COMMAND} {arguments}; echo S$?")
        self.shows("q quit")
        assert self.tmux("display", "-p", "-t", "t", "#{alternate_on}#{cursor_flag}") == "10"
        shell = int(self.tmux("display", "-p", "-t", "t", "#{pane_pid}"))
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text())

    def ended(self, status):
        """Wait for the command's end, with a status, on the screen that was there before."""
        self.shows(f"^S{status}$")
        assert not any("q quit" in line for line in self.screen())


@pytest.fixture
def terminal(tmp_path):
    """Return a terminal."""
    with Terminal(tmp_path) as found:
        yield found


class Load:
    """Keeps asking a server in some threads, until the end of `with`."""

    def __init__(self, server, path, threads):
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(server, path)) for _ in range(threads)
        ]

    def _ask(self, server, path):
        while not self._end.wait(0.05):
            with contextlib.suppress(*BROKEN):  # one is killed
                server.get(path)

    def __enter__(self):
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join(WAIT)


def test_screens(serve, terminal, background):
    """At 80x24 and 200x50: under load, and after a worker was killed. Its request, its age and its
    place are those of the server; the figures are the status's own."""
    with serve("--workers", "3", "--timeout", "0") as server:
        server.ready(3)
        background.add(server.get, "/sleep?s=60")
        eventually(lambda: server.status()["calling"] == 1, "one that sleeps")
        terminal.start(f"--pid {server.pid}")
        with Load(server, "/pid", 2):
            for width, height in ((80, 24), (200, 50)):
                terminal.tmux("resize-window", "-t", "t", "-x", str(width), "-y", str(height))
                eventually(lambda h=height: len(terminal.screen()) == h, f"{height} lines")
                terminal.shows(r"GET /sleep  .*apps\.py:\d+")
                terminal.shows("^q quit", slice(-1, None))
                rate = terminal.shows(r"requests/s +(\d+)\.?\d* ")
                assert float(rate[1]) > 0
                screen = terminal.screen()
                assert all(len(line) <= width for line in screen)
                assert screen[0].startswith("gunicorn-raindrops top  arbiter")
                terminal.shows(rf"^{re.escape(server.name)} +\d+/2048")
                terminal.shows(r"^[C_RW]*C[C_RW]*$")
                terminal.shows(r"workers +3/3")
            row = terminal.shows(r"^ +\d+ +(\d+) calling +(\d\S+) .*GET /sleep")
            os.kill(int(row[1]), signal.SIGKILL)
            terminal.shows(rf"worker {row[1]} killed: GET /sleep after .*apps\.py:\d+")
            terminal.shows(r"^exits: .*killed 1")
            terminal.shows(r"workers +3/3")
            assert not any(line.split()[1:2] == [row[1]] for line in terminal.screen()[10:])
            terminal.tmux("resize-window", "-t", "t", "-x", "80", "-y", "24")
            terminal.shows(rf"worker {row[1]} killed: GET /sleep after")
        background.join(errors=True)
        terminal.press("q")
        terminal.ended(0)


@pytest.mark.parametrize("variables", ["", "NO_COLOR=1 LC_ALL=C"])
def test_the_terminal_is_as_before(serve, terminal, variables):
    """After q, Ctrl-C and signals, also in the middle of a filter, and after a stop (Ctrl-Z)."""
    with serve() as server:
        server.ready(1)
        before = terminal.state()
        for how, status in (("q", 0), ("C-c", 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            pid = terminal.start(f"--pid {server.pid}", variables)
            if variables:
                assert all(line.isascii() for line in terminal.screen())
                escapes = terminal.tmux("capture-pane", "-p", "-e", "-t", "t")
                assert not re.search(r"\x1b\[[0-9;]*\b[349][0-7][;m]", escapes)
            if isinstance(how, str):
                terminal.press(how)
            else:
                terminal.press("/", "a")
                terminal.shows("^filter: a_")
                os.kill(pid, how)
            terminal.ended(status)
            assert terminal.state() == before
            if variables:
                return


def test_a_stop(serve, terminal):
    """Ctrl-Z gives the terminal back, and `fg` takes it again."""
    with serve() as server:
        server.ready(1)
        before = terminal.state()
        terminal.start(f"--pid {server.pid}")
        terminal.press("C-z")
        terminal.shows("Stopped")
        assert terminal.state() == before
        terminal.type("clear; fg; clear; echo S$?")
        terminal.shows("q quit")
        terminal.press("q")
        terminal.ended(0)
        assert terminal.state() == before


def test_the_servers_end(serve, terminal, tmp_path):
    """By pid it says that the server has ended; by URL it waits for the next one. The last figures
    stay."""
    path = f"unix:{tmp_path}/status"
    with serve("--workers", "2", env={"RAINDROPS_BIND": path}) as server:
        server.logged("status at")
        before = terminal.state()
        pid = server.pid
        terminal.start(f"--pid {pid}")
        server.send(signal.SIGTERM)
        terminal.shows(
            r"the server has ended at \d\d:\d\d:\d\d; these are its last figures", slice(-1, None)
        )
        # its workers may have ended before it, and it wants none then
        terminal.shows(r"workers +(\d/2|0) ")
        terminal.press("q")
        terminal.ended(0)
        assert terminal.state() == before
    with serve("--workers", "2", env={"RAINDROPS_BIND": path}) as server:
        server.logged("status at")
        eventually(lambda: len(server.workers()) == 2, "workers")
        terminal.start(path)
    terminal.shows(r"^no answer since \d\d:\d\d:\d\d", slice(-1, None))
    terminal.shows("2 workers|workers +2/2")
    with serve("--workers", "1", env={"RAINDROPS_BIND": path}):
        terminal.shows(r"q quit.* 1 worker$")
        terminal.press("q")
        terminal.ended(0)
        assert terminal.state() == before


def test_an_upgrade(serve):
    """The next arbiter is followed; after the last one's end there is none."""
    with serve() as server:
        old = server.pid
        server.ready(1)
        source = ByPid(find.of(old))
        assert source.read().status["arbiter"]["pid"] == old
        new = server.upgrade(1)
        server.end(old)
        assert source.read().status["arbiter"]["pid"] == new
        assert str(new) in source.name
    with pytest.raises(Ended):
        source.read()


def test_without_an_argument(serve, terminal):
    """There is a choice where there are several servers."""
    with serve() as one, serve() as other:
        for server in (one, other):
            server.ready(1)
        terminal.type(f"clear; {COMMAND}")
        terminal.shows(r"Which one \(1-\d+\)\?")
        row = terminal.shows(rf"^(\d+)  arbiter {other.pid} in ")
        terminal.type(row[1])
        terminal.shows(rf"^gunicorn-raindrops top  arbiter {other.pid} in .*", slice(0, 1))
        terminal.press("q")
        terminal.shows(PROMPT.strip())
