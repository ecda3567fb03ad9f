"""Drivers in C that try native units under the sanitizers: built, and run from a seed."""

import shutil
import subprocess

import pytest

from .bounds import LONG


def compiled(folder, *sources):
    """Return the program made of some sources, and of options for the compiler."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    program = folder / "fuzz"
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", "-std=gnu11", "-g", "-O1", *sanitize, *map(str, sources), "-o", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    if "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip("gcc has no address or undefined-behaviour sanitizer here")
    assert done.returncode == 0, done.stderr
    return program


def counts(program, *arguments):
    """Run it to its good end; return what it has counted, by name."""
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    words = done.stdout.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))
