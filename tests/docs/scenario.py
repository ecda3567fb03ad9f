"""Run all code blocks of one page, as a reader would: python -m tests.docs.scenario PAGE

To be started by `unshare` with network, PID and mount namespaces of its own (see test_snippets.py):
so the page's ports, pids and folders are free, and nothing is left when it ends. The page's folder
is /srv/app; /run is empty. It prints how many blocks it ran.
"""

import doctest
import fcntl
import io
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

from .blocks import ROOT, SHOWN, Block, blocks
from .matching import agrees
from .shell import Shell, Wrong

IFF_UP = 1
SIOCSIFFLAGS = 0x8914


class Scenario:
    """One page's run: its folder, its shell, its Python so far."""

    def __init__(self, folder: Path, environ: dict[str, str]):
        self.folder, self.environ = folder, environ
        self.shell = Shell(folder, ROOT, environ)
        self.python = ""

    def run(self, block: Block) -> None:
        """Run one block.

        Raises:
            Wrong: it does something else than the page says.
        """
        if block.kind in ("file", "included"):
            self._write(block)
        elif block.kind == "console":
            for command in block.commands:
                self.shell.run(command.text, command.output)
        elif block.kind == "python":
            self.python += block.text
            self._run_python()
        elif block.language not in SHOWN:
            self._doctest(block)

    def _write(self, block: Block) -> None:
        if block.title:
            path = self.folder / block.title
            if path.resolve().parent not in (self.folder, *path.resolve().parents):
                raise Wrong(f"{block.title} is not below the page's folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            _check(path)

    def _run_python(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", self.python],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise Wrong(f"{self.python}\nfails:\n{done.stdout}")

    def _doctest(self, block: Block) -> None:
        known: dict[str, object] = {}
        sys.path.insert(0, str(self.folder))
        exec(self.python, known)
        test = doctest.DocTestParser().get_doctest(block.text, known, "page", None, block.line)
        said = io.StringIO()
        runner = doctest.DocTestRunner(_Checker(), verbose=False)
        runner.run(test, out=said.write)
        if runner.failures or not runner.tries:
            raise Wrong(said.getvalue())


class _Checker(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return agrees(want.splitlines(), got) if want else not got


def _check(path: Path) -> None:
    """Parse a file whose language has a parser here."""
    text = path.read_text()
    if path.suffix == ".py":
        compile(text, path.name, "exec")
    elif path.suffix == ".json":
        json.loads(text)


def lift_loopback() -> None:
    """Set the new network namespace's loopback device up; it also gets its addresses then."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def own_folder() -> Path:
    """Return an empty /srv/app, on a file system of this mount namespace; /run is empty as well."""
    for place in ("/run", "/srv"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    folder = Path("/srv/app")
    folder.mkdir()
    os.chdir(folder)
    return folder


def variables() -> dict[str, str]:
    """Return what a newcomer's shell has, with this interpreter's programs first on PATH. Its home
    goes with the namespaces, and not before the servers that write into it."""
    home = Path("/srv/home")
    home.mkdir()
    (home / ".curlrc").write_text("silent\nshow-error\n")
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def main(page: str) -> int:
    """Run a page; prints the first thing that is wrong, and returns 1 then."""
    path = Path(page).resolve()
    lift_loopback()
    scenario = Scenario(own_folder(), variables())
    found = blocks(path)
    for block in found:
        try:
            scenario.run(block)
        except Wrong as error:
            print(f"{path.name}:{block.line}: {error}")
            return 1
    try:
        scenario.shell.close()
    except Wrong as error:
        print(f"{path.name}: {error}")
        return 1
    commands = sum(len(block.commands) for block in found if block.kind == "console")
    print(f"{len(found)} blocks ran, with {commands} commands")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
