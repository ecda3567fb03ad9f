"""What setup.py refuses, and what a wheel has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("setuptools")
ROOT = Path(__file__).parent.parent
IN_SOURCE_TREE = pytest.mark.skipif(
    not (ROOT / "setup.py").exists(), reason="this is no source tree"
)

FREE_THREADED = """
import runpy, sys, sysconfig
sysconfig.get_config_vars()["Py_GIL_DISABLED"] = 1
sys.argv = ["setup.py", "egg_info"]
runpy.run_path("setup.py", run_name="__main__")
"""


@IN_SOURCE_TREE
def test_a_free_threaded_build_is_refused():
    """One line says why, and what to use instead; nothing is compiled."""
    command = [sys.executable, "-c", FREE_THREADED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "free-threaded" in line
    assert "GIL" in line
    assert "compiler" not in line


@IN_SOURCE_TREE
def test_a_wheel_has_all_packages():
    """A folder that is not listed is missing in the wheel alone: an editable install finds it."""
    setuptools = (ROOT / "pyproject.toml").read_text().partition("[tool.setuptools]")[2]
    listed = re.findall(r'"([\w.]+)"', setuptools.partition("]")[0])
    folders = {path.parent for path in (ROOT / "gunicorn_raindrops").rglob("__init__.py")}
    assert set(listed) == {".".join(folder.relative_to(ROOT).parts) for folder in folders}
