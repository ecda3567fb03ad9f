"""Run the tests on every supported Python of pyenv's that is there, with the one wheel.

The wheel is built once, by the Python that runs this, and installed into a virtual environment of
each other one: that is what the stable ABI promises. The tests run from a copy, away from the
source tree, so it is the wheel that they import.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
SUPPORTED = [(3, minor) for minor in range(10, 14)]
NEEDED = ["pytest", "hypothesis"]
# Everything but the integration tests, and of those what shows that a server counts.
TESTS = [
    ["tests", "--ignore=tests/integration"],
    ["tests/integration/test_ways_in.py", "-k", "shipped and current"],
    ["tests/integration/test_exact.py", "-k", "current"],
]


def pythons() -> dict[tuple[int, int], Path]:
    """Return an interpreter of each supported version but our own."""
    found = {}
    for path in sorted(PYENV.glob("3.*/bin/python")):
        match = re.match(r"(\d+)\.(\d+)\.", path.parent.parent.name)
        version = (int(match[1]), int(match[2])) if match else None
        if version in SUPPORTED and version != sys.version_info[:2]:
            found[version] = path
    return found


def run(*command: object, **options: object) -> None:
    """Run a command that must succeed."""
    subprocess.run([str(word) for word in command], check=True, **options)


def environment(python: Path, version: tuple[int, int], wheel: Path) -> Path:
    """Return the interpreter of a virtual environment with the wheel in it."""
    venv = ROOT / f".venv-python{version[0]}.{version[1]}"
    if not (venv / "bin/python").exists():
        run(python, "-m", "venv", venv)
    pip = [venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run(*pip, wheel, *NEEDED)
    run(*pip, "--force-reinstall", "--no-deps", wheel)
    return venv / "bin/python"


def main() -> int:
    """Test them all; returns 1 if one failed."""
    others = pythons()
    if not others:
        print(f"no other supported Python under {PYENV}: nothing more to test")
        return 0
    failed = []
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        run(*pip, "wheel", "-q", "--no-deps", "--wheel-dir", here, ROOT)
        (wheel,) = here.glob("*.whl")
        assert "cp310-abi3" in wheel.name, f"not a stable-ABI wheel: {wheel.name}"
        for part in ("tests", "examples"):
            shutil.copytree(ROOT / part, here / part)
        shutil.copy(ROOT / "pyproject.toml", here)
        for version, python in others.items():
            interpreter = environment(python, version, wheel)
            for tests in TESTS:
                print(f"Python {version[0]}.{version[1]}: {' '.join(tests)}", flush=True)
                command = [interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
                if subprocess.run([str(word) for word in command], cwd=here).returncode:
                    failed.append((version, tests))
    for version, tests in failed:
        print(f"failed on Python {version[0]}.{version[1]}: {' '.join(tests)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
