"""The shell of a page: commands that end, servers that stay, programs that want a terminal."""

import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..bounds import WAIT
from ..processes import alive
from .matching import agrees, has, says_something

BETWEEN = 0.2
"""Seconds between two tries of a command that only reads."""
ROUND = 3.5
"""Seconds of such tries."""
ROUNDS = 3
"""How often; before each but the first, what is over by then is begun once more."""
_READS = re.compile(r"^(curl(?!.* -X)|gunicorn-raindrops (status|listeners)|ss|ps|cat|grep|ls)\b")
_CHANGES_NOTHING = re.compile(rf"{_READS.pattern}|^sleep\b")
_ENDLESS = re.compile(r"^(gunicorn-raindrops listeners\b.* -d|curl\b.*/tail/)")
_SERVERS = re.compile(
    r"^(gunicorn|uvicorn|hypercorn|waitress-serve|uwsgi|unicorn|prometheus|nginx"
    r"|gunicorn-raindrops watch|make demo)(?![-\w])(?!.*--(version|check-config|print-config|help))"
)
_IN_BACKGROUND = re.compile(r"&\s*(done\s*)?$")
"""What is left running prints later, into another command's output: so it is heard at the end."""
_NOT_BEGUN = re.compile(r"command not found|No such file|SyntaxError|ModuleNotFoundError")
"""What a program in the background says that could not begin. Others may be cut off: their server
is killed."""
_INTERACTIVE = re.compile(r"^gunicorn-raindrops top\b")
_ADDRESS = re.compile(r"https?://([\d.]+):(\d+)")
_STATUS = re.compile(r"gunicorn-raindrops: status at http://([\d.]+):(\d+)")
_READY = re.compile(
    r"Booting worker|Uvicorn running|Running on|Serving on|watching at|worker=\d+ ready"
    r"|Server is ready to receive|spawned uWSGI worker"
)


class Wrong(Exception):
    """A command did something else than its page says."""


class Shell:
    """A bash in a folder, with what a reader's terminals have: variables last, servers go on.

    Args:
        folder: where it is.
        root: the repository, where make runs.
        environ: its variables.
    """

    def __init__(self, folder: Path, root: Path, environ: dict[str, str]):
        self.folder, self.root, self.environ = folder, root, environ
        self.servers: dict[str, tuple[int, Path]] = {}
        self._under_way: list[str] = []
        self._unheard = folder.parent / "background.log"
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environ,
        )

    @property
    def pid(self) -> int | None:
        """The pid of the gunicorn that serves."""
        return self.servers.get("gunicorn", (None,))[0]

    def run(self, command: str, wanted: list[str]) -> None:
        """Run a command as a reader would, and compare what it prints.

        Raises:
            Wrong: it fails, or prints something else.
        """
        command = _without_folds(command)
        if self.pid:
            command = re.sub(r"\b4711\b", str(self.pid), command)
        program = _program(command)
        if server := _SERVERS.match(program):
            self._serve(server[1], command, wanted)
        elif _INTERACTIVE.match(program):
            self._at_a_terminal(command)
        elif _ENDLESS.match(program):
            self._watch(command, wanted)
        elif program.startswith("make "):
            self._finish(f"make -n -C {shlex.quote(str(self.root))} {program[5:]}", [])
        else:
            self._finish(command, wanted)

    def _finish(self, command: str, wanted: list[str]) -> None:
        """Run what ends by itself. What only reads may have to wait for what was begun before; if
        that is over by then, as a request is on a busy machine, it is begun once more."""
        reads = bool(_READS.match(_program(command)))
        for _ in range(ROUNDS if reads else 1):
            status, output = self._try(command, wanted, ROUND if reads else 0)
            if agrees(wanted, output) and _is_success(status, output, wanted):
                break
            for begun in self._under_way:
                self._ask(begun)
        else:
            _expect(False, command, wanted, f"{output}(exit status {status})")
        self._remember(command)

    def _try(self, command: str, wanted: list[str], seconds: float) -> tuple[int, str]:
        """Run a command again and again until it is right, within bounds; return its last."""
        until = time.monotonic() + seconds
        while True:
            status, output = self._ask(command)
            right = agrees(wanted, output) and _is_success(status, output, wanted)
            if right or time.monotonic() > until:
                return status, output
            time.sleep(BETWEEN)

    def _remember(self, command: str) -> None:
        """Keep what was left running, until a command changes something."""
        if _IN_BACKGROUND.search(command):
            self._under_way.append(command)
        elif not _CHANGES_NOTHING.match(_program(command)):
            self._under_way.clear()

    def _watch(self, command: str, wanted: list[str]) -> None:
        """Run what does not end until it has printed what the page has, within bounds."""
        for seconds in (3, 9, 27):
            _, output = self._ask(f"timeout -s INT {seconds} {command}")
            if has(wanted, output):
                return
        _expect(False, command, wanted, output)

    def _ask(self, command: str) -> tuple[int, str]:
        """Return the exit status and the output of a command."""
        quiet = (
            f" >/dev/null 2>>{shlex.quote(str(self._unheard))}"
            if _IN_BACKGROUND.search(command)
            else ""
        )
        end = f"end-{time.monotonic_ns()}"
        self._tell(f"{{ {command}\n}} </dev/null{quiet}\nx=$?; echo; echo {end} $x\n")
        output = ""
        for piece in self._output(command):
            output += piece
            over = re.search(rf"\n{end} (\d+)\n", output)
            if over:
                return int(over[1]), output[: over.start()]
        raise Wrong(f"$ {command}\nthe shell is gone:\n{output}")

    def _tell(self, text: str) -> None:
        assert self._bash.stdin
        self._bash.stdin.write(text.encode())
        self._bash.stdin.flush()

    def _output(self, command: str) -> Iterator[str]:
        """Give what the shell prints, within bounds."""
        assert self._bash.stdout
        until = time.monotonic() + WAIT
        while select.select([self._bash.stdout], [], [], max(until - time.monotonic(), 0))[0]:
            piece = os.read(self._bash.stdout.fileno(), 1 << 16)
            if not piece:
                return
            yield piece.decode(errors="replace")
        raise Wrong(f"$ {command}\nhas not ended within {WAIT:.0f} s")

    def _serve(self, program: str, command: str, wanted: list[str]) -> None:
        """Start a server, in the place of a former one of its kind; return when it serves."""
        is_demo = program == "make demo"
        program = "gunicorn" if is_demo else program
        self.stop(program)
        self._under_way.clear()
        log = self.folder.parent / f"{program.replace(' ', '-')}.log"
        log.write_text("")
        if is_demo:
            # this very environment is built, however old it is
            command = f"make -o .venv/.built -C {shlex.quote(str(self.root))} demo"
        background = f"{command.removesuffix('&')} >{log} 2>&1 </dev/null &\necho $!"
        _, output = self._ask(background)
        pid = int(output.split()[-1])
        self.servers[program] = (pid, log)
        until = time.monotonic() + WAIT
        while not (_serves(log.read_text()) and has(wanted, log.read_text())):
            if not alive(pid) or time.monotonic() > until:
                _expect(False, command, wanted, log.read_text())
            time.sleep(0.05)

    def stop(self, program: str) -> None:
        """End a server, and wait for its end."""
        if program in self.servers:
            pid, log = self.servers.pop(program)
            with contextlib.suppress(ProcessLookupError):
                # without the grace that requests of many seconds would have
                os.kill(pid, signal.SIGQUIT if program == "gunicorn" else signal.SIGTERM)
            until = time.monotonic() + WAIT
            while alive(pid):
                if time.monotonic() > until:
                    raise Wrong(f"{program} does not end:\n{log.read_text()}")
                time.sleep(0.05)

    def _at_a_terminal(self, command: str) -> None:
        """Run a program on a terminal, until its screen is there, and quit it."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, b"\x32\x00\xa0\x00\x00\x00\x00\x00")  # 50 by 160
        process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.folder,
            env=self.environ,
            start_new_session=True,
        )
        os.close(theirs)
        screen = _read_until(ours, b"quit")
        os.write(ours, b"q")
        drain = threading.Thread(target=_read_until, args=(ours, b"\0never"), daemon=True)
        drain.start()
        status = process.wait(WAIT)
        _expect(b"quit" in screen and status == 0, command, ["q quit"], screen.decode())

    def close(self) -> None:
        """See that the servers still run; they end with their namespace.

        Raises:
            Wrong: one has ended by itself, or a program in the background could not begin.
        """
        unheard = self._unheard.read_text() if self._unheard.exists() else ""
        if _NOT_BEGUN.search(unheard):
            raise Wrong(f"in the background:\n{unheard}")
        for program, (pid, log) in self.servers.items():
            if not alive(pid):
                raise Wrong(f"{program} has ended by itself:\n{log.read_text()}")


def _is_success(status: int, output: str, wanted: list[str]) -> bool:
    """Tell whether a command has done its work, or failed with the words that its page has. pip
    ends well without an extra that there is not."""
    return (status == 0 or says_something(wanted)) and "does not provide the extra" not in output


def _without_folds(command: str) -> str:
    return re.sub(r"\\\n\s*", "", command)


def _program(command: str) -> str:
    """Return a command without the variables that are set in front of it."""
    return re.sub(r"^(\w+=('[^']*'|\"[^\"]*\"|\S*)\s+)+", "", command)


def _expect(right: bool, command: str, wanted: list[str], got: str) -> None:
    if not right:
        page = "\n".join(wanted)
        raise Wrong(f"$ {command}\nthe page says:\n{page}\nit is:\n{got}")


def _serves(log: str) -> bool:
    """Tell whether a server says that it is up, and one that has loaded its application answers:
    at our status address, or for want of one at all addresses that it names."""
    addresses = _STATUS.findall(log) or _ADDRESS.findall(log)
    return bool(_READY.search(log)) and all(_answers(*address) for address in addresses)


def _answers(host: str, port: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 5) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return client.recv(1) != b""
    return False


def _read_until(terminal: int, text: bytes) -> bytes:
    """Return what a terminal shows up to some text, or to its end, within bounds."""
    shown, until = b"", time.monotonic() + WAIT
    with contextlib.suppress(OSError):  # EIO: the program has closed it
        while text not in shown and time.monotonic() < until:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 1 << 16)
    return shown
