"""All plain native units under the sanitizers; the reader of netlink replies has its own fuzzer."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.once

HERE = Path(__file__).parents[1]
NATIVE = HERE.parent / "gunicorn_raindrops" / "_native"
ROUNDS = "50000"


def needs_python(path):
    """Tell whether a file includes Python's headers, itself or through a header of ours."""
    text = path.read_text()
    ours = re.findall(r'#include "(\w+\.h)"', text)
    return "Python.h" in text or any(needs_python(NATIVE / name) for name in ours)


def plain_units():
    """Return the units that do not need Python; those that cffi writes have names with a `_`."""
    units = (path for path in NATIVE.glob("*.c") if not path.name.startswith("_"))
    others = {"inet_diag.c", "netlink.c"}
    return sorted(p for p in units if not needs_python(p) and p.name not in others)


@pytest.fixture(scope="session")
def fuzzer(tmp_path_factory):
    """Compile the driver together with the units."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    binary = tmp_path_factory.mktemp("fuzz") / "fuzz"
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", "-std=gnu11", "-g", "-O1", "-pthread", *sanitize, f"-I{NATIVE}"]
    sources = [HERE / "fuzz" / "fuzz_scoreboard.c", *plain_units()]
    done = subprocess.run(
        [*command, *sources, "-o", binary], capture_output=True, text=True, timeout=120
    )
    if "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip("gcc has no address or undefined-behaviour sanitizer here")
    assert done.returncode == 0, done.stderr
    return binary


def test_the_units_are_found():
    """Every unit that is not Python's: a new one comes here by itself, and is linked."""
    names = {path.stem for path in plain_units()}
    assert {"scoreboard", "reading", "busy", "marks", "entry", "requests", "histogram"} <= names
    assert {"process", "pages", "guard", "nowait"} <= names


@settings(max_examples=2)
@given(st.integers(0, 2**32 - 1))
def test_fuzz(fuzzer, seed):
    """Fifty thousand steps, half of them in pages that are scribbled on: no bad memory access,
    no undefined arithmetic, and before the scribbling no figure that is wrong."""
    done = subprocess.run([fuzzer, str(seed), ROUNDS], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    counts = dict(zip(*[iter(done.stdout.split())] * 2, strict=True))
    assert counts["rounds"] == ROUNDS
    assert all(int(count) > 300 for count in counts.values()), done.stdout
