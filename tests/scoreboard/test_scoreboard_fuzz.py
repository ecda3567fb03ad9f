"""All plain native units under the sanitizers; the reader of netlink replies has its own fuzzer."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .. import fuzzing

pytestmark = pytest.mark.once

HERE = Path(__file__).parents[1]
NATIVE = HERE.parent / "gunicorn_raindrops" / "_native"
ROUNDS = 50_000


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
    driver = HERE / "fuzz" / "fuzz_scoreboard.c"
    folder = tmp_path_factory.mktemp("fuzz")
    return fuzzing.compiled(folder, "-pthread", f"-I{NATIVE}", driver, *plain_units())


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
    counts = fuzzing.counts(fuzzer, seed, ROUNDS)
    assert counts["rounds"] == ROUNDS
    assert min(counts.values()) > 300, counts
