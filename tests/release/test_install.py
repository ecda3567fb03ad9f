"""A machine without a compiler, and the two commands of the README: `make test-wheels`.

WHEELS names the folder with the wheels. Each supported Python of pyenv's gets a new virtual
environment; the commands run with nothing else on PATH, and without pip's cache. How long they took
is printed, not judged: most of it is the network's.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..integration.servers import APPS, eventually
from ..wheels import pythons

WHEELS = os.environ.get("WHEELS")
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not WHEELS, reason="`make test-wheels` builds them and says where"),
]
PORTS = {
    "GUNICORN_CMD_ARGS": "-c python:gunicorn_raindrops.conf --bind 127.0.0.1:0",
    "RAINDROPS_BIND": "127.0.0.1:0",
}
"""The README's variable, but that the kernel chooses the ports."""
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"


@pytest.fixture(params=pythons().items(), ids=lambda item: "{}.{}".format(*item[0]))
def machine(request, tmp_path):
    """The `bin` of a new virtual environment, and the variables of a shell that has no more."""
    (major, minor), python = request.param
    venv = tmp_path / f"python{major}.{minor}"
    new_environment(python, venv)
    keep = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    path = venv / "bin"
    shell = keep | {"HOME": os.environ["HOME"], "PATH": str(path)} | PORTS
    assert not any(shutil.which(name, path=shell["PATH"]) for name in ("cc", "gcc", "clang", "sh"))
    return path, shell


def new_environment(python, venv):
    """Make it, with the pip that the Python brings along, or the newest: Debian's brings none."""
    bare = subprocess.run([python, "-c", "import ensurepip"], capture_output=True).returncode
    make = [python, "-m", "venv", *(["--without-pip"] if bare else []), venv]
    subprocess.run(make, check=True, timeout=120)
    if bare:
        pip = [sys.executable, "-m", "pip", "--python", venv / "bin/python", "install", "-q", "pip"]
        subprocess.run(pip, check=True, timeout=120)


def install(path, shell):
    """Run pip as the README has it, but that it finds our wheel in a folder."""
    pip = [path / "pip", "--disable-pip-version-check", "install", "--quiet", "--no-cache-dir"]
    pip += ["--only-binary", ":all:", "--find-links", Path(WHEELS).absolute(), "gunicorn-raindrops"]
    done = subprocess.run(pip, env=shell, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def first_figure(path, shell, log):
    """Return the answer of the status address that a server's log names."""
    said = re.compile(r"status at (http://\S+)")
    found = eventually(lambda: said.search(log.read_text()), log.read_text)
    done = subprocess.run(
        [path / "python", "-c", ASK, found[1]],
        env=shell,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_commands_to_the_first_figure(machine, tmp_path):
    """Install the wheel, start the server, read how many requests are in flight."""
    path, shell = machine
    log = tmp_path / "log"
    began = time.monotonic()
    install(path, shell)
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [path / "gunicorn", "apps:app"],
            cwd=APPS,
            env=shell | {"HOME": str(tmp_path)},
            stderr=stderr,
        ) as server,
    ):
        try:
            assert "calling: 0" in first_figure(path, shell, log)
        finally:
            server.terminate()
    print(f"\n{path.parent.name}: the first figure after {time.monotonic() - began:.1f} s")
    assert server.returncode == 0
    assert "Traceback" not in log.read_text()
