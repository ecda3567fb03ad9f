"""The wheel for aarch64, run: `make test-aarch64`.

Debian's Python for arm64 and PyPI's packages for aarch64 run under qemu's emulation of a process.
The unit tests of counters, histogram and scoreboard must pass. It shows that the wheel loads and
counts. It does not show that memory orders are right: qemu runs on x86_64, which reorders less than
arm64 may.

One string of the modules is changed for it. qemu answers /proc/PID/stat itself where a process
reads its own, and tells a forked child its parent's start time. By a name of the same length that
qemu does not know, the modules read the kernel's. LEFT_OUT has what fails under emulation still.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from debian import FOLDER, KEYRING, ROOT, arm64, run

QEMU = "qemu-aarch64-static"
NEEDED = ["pytest", "pytest-timeout", "hypothesis", "fastjsonschema"]
TESTS = ["tests/test_raindrops.py", "tests/test_shm.py", "tests/test_histogram.py",
         "tests/native", "tests/scoreboard"]  # fmt: skip
STAT, UNKNOWN_TO_QEMU = b"/proc/%u/stat", b"/proC/%u/stat"
LEFT_OUT = {
    "tests/test_histogram.py::test_merging_is_recording_into_one": "slower than its deadline",
    "tests/native/test_steps.py::test_the_kernel_says_how_long": "qemu 7.2 gives no TCP_INFO",
}
"""Tests that fail under emulation alone, and why."""

# A child that a test starts is this machine's own process again, so it goes through the wrapper.
RUN = "import sys; sys.executable = sys.argv.pop(1); import pytest; sys.exit(pytest.main())"


def system() -> Path:
    """Return a folder with arm64's Python; it is kept for the next time."""
    folder = FOLDER / "python3.11-minimal-arm64"
    return folder if folder.exists() else arm64()


def install(wheel: Path, into: Path) -> None:
    """Put the wheel and what it and its tests need into a folder, for that machine."""
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(17, 37)]
    chosen = [word for name in platforms for word in ("--platform", name)]
    shutil.rmtree(into, ignore_errors=True)
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--target", into,
        "--only-binary", ":all:", "--python-version", "3.11", *chosen, wheel, *NEEDED)  # fmt: skip
    for module in into.glob("gunicorn_raindrops/_native/*.so"):
        module.write_bytes(module.read_bytes().replace(STAT, UNKNOWN_TO_QEMU))


def wrapper(folder: Path) -> Path:
    """Write a command that runs arm64's Python like any other one; -L shows it `folder` as root."""
    link = folder / UNKNOWN_TO_QEMU.decode().split("/")[1]
    link.unlink(missing_ok=True)
    link.symlink_to("/proc")
    path = folder / "python-aarch64"
    python, site = folder / "usr/bin/python3.11", folder / "site"
    path.write_text(
        f'#!/bin/sh\nexec {QEMU} -L {folder} -E PYTHONPATH="{site}:$PYTHONPATH" {python} "$@"\n'
    )
    path.chmod(0o755)
    return path


def tests(python: Path, chosen: list[str]) -> int:
    """Run some from a copy, away from the source tree; returns pytest's exit status."""
    deselected = [word for name in LEFT_OUT for word in ("--deselect", name)]
    with tempfile.TemporaryDirectory() as name:
        for part in ("tests", "examples"):
            shutil.copytree(ROOT / part, Path(name, part))
        shutil.copy(ROOT / "pyproject.toml", name)
        command = [python, "-c", RUN, python, "-q", "-p", "no:cacheprovider", "-m", "not once"]
        return subprocess.run([*command, *deselected, *chosen], cwd=name, check=False).returncode


def main() -> int:
    """Run them, or say what is missing."""
    missing = [name for name in (QEMU, "apt-get", "dpkg-deb") if not shutil.which(name)]
    if missing or not KEYRING.exists():
        print(f"skipped: not on this machine: {', '.join(missing or [KEYRING.name])}")
        return 0
    (wheel,) = Path(sys.argv[1]).absolute().glob("*-manylinux*_aarch64.whl")
    folder = system()
    install(wheel, folder / "site")
    return tests(wrapper(folder), sys.argv[2:] or TESTS)


if __name__ == "__main__":
    sys.exit(main())
