"""The wheel, and virtual environments to try it in: what pythons.py and matrix.py share.

The wheel is built once, by the Python that runs this, and installed into a virtual environment of
each other one: that is what the stable ABI promises. The tests run from a copy, away from the
source tree, so it is the wheel that they import.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
DEBIAN = ROOT / ".debian"
"""Where `make newest-pythons` puts what pyenv has not."""
SUPPORTED = [(3, minor) for minor in range(10, 16)]
NEEDED = [
    "pytest",
    "pytest-xdist",
    "pytest-timeout",
    "hypothesis",
    "fastjsonschema",
    "rich",
    "greenlet",
]

Version = tuple[int, int]


def pythons() -> dict[Version, Path]:
    """Return an interpreter of each supported version: our own, pyenv's of the others, and of
    those that it has not, Debian's."""
    found = {sys.version_info[:2]: Path(sys.executable)}
    for path in sorted(PYENV.glob("3.*/bin/python")):
        match = re.match(r"(\d+)\.(\d+)\.", path.parent.parent.name)
        version = (int(match[1]), int(match[2])) if match else None
        if version in SUPPORTED:
            found.setdefault(version, path)
    for path in DEBIAN.glob("*-amd64/usr/bin/python3.1?"):
        found.setdefault((3, int(path.name.rpartition(".")[2])), path)
    return dict(sorted(found.items()))


def run(*command: object, **options: object) -> None:
    """Run a command that must succeed."""
    subprocess.run([str(word) for word in command], check=True, **options)


@contextlib.contextmanager
def wheel_and_tests() -> Iterator[tuple[Path, Path]]:
    """Build the wheel; gives its path, and a directory with a copy of the tests."""
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        run(*pip, "wheel", "-q", "--no-deps", "--wheel-dir", here, ROOT)
        (wheel,) = here.glob("*.whl")
        assert "cp310-abi3" in wheel.name, f"not a stable-ABI wheel: {wheel.name}"
        for part in ("tests", "examples"):
            shutil.copytree(ROOT / part, here / part)
        shutil.copy(ROOT / "pyproject.toml", here)
        yield wheel, here


def environment(name: str, python: Path, wheel: Path, *packages: str) -> Path:
    """Return the interpreter of a virtual environment with the wheel, what tests need, and more.

    It is kept, under this name, for the next time.
    """
    venv = ROOT / name
    if not (venv / "bin/python").exists():
        run(python, "-m", "venv", "--without-pip", venv)
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin/python", "install"]
    pip += ["-q", "--disable-pip-version-check"]
    run(*pip, wheel, *NEEDED, *packages)
    run(*pip, "--force-reinstall", "--no-deps", wheel)
    return venv / "bin/python"


def pytest(interpreter: Path, here: Path, *tests: str, **options: object) -> int:
    """Run tests with an interpreter; returns pytest's exit status."""
    command = [str(interpreter), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=here, check=False, **options).returncode
