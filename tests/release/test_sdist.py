"""What the sdist and the wheels are made of. `make wheels` builds these, and release/audit.py looks
into them; here nothing is compiled, so it is quick."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from email import message_from_string
from pathlib import Path

import pytest

pytest.importorskip("setuptools")
pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent.parent
MADE = re.compile(r"PKG-INFO|setup\.cfg|gunicorn_raindrops\.egg-info/.*")
"""What setuptools adds to the files of the repository."""


def tracked():
    """Return the files that git knows, as far as they are there."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).exists()}


def setup(folder, *words):
    """Run setup.py there, without the time that isolated builds take."""
    command = [sys.executable, "setup.py", "-q", *map(str, words)]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the files that git knows."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_the_sdist_is_the_repository(checkout, tmp_path):
    """Every file is in it, so that tests and benchmarks run from it, and nothing else is."""
    setup(checkout, "sdist", "-d", tmp_path)
    (archive,) = tmp_path.iterdir()
    with tarfile.open(archive) as opened:
        names = {member.name.partition("/")[2] for member in opened if member.isfile()}
    assert {name for name in names if not MADE.fullmatch(name)} == tracked()


def test_a_wheel_holds_what_runs(checkout, tmp_path):
    """All of the package but C and what builds it; the compiled modules come to that."""
    setup(checkout, "build_py", "--build-lib", tmp_path)
    built = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    ours = {name for name in tracked() if name.startswith("gunicorn_raindrops/")}
    sources = {name for name in ours if name.endswith((".c", ".h"))}
    assert built == ours - sources - {"gunicorn_raindrops/_native/build.py"}


def test_links_of_pypis_page(checkout):
    """They lead somewhere from there too, and to files that this version has."""
    setup(checkout, "egg_info")
    metadata = message_from_string((checkout / "gunicorn_raindrops.egg-info/PKG-INFO").read_text())
    links = re.findall(r"\]\(([^)\s]+)", metadata.get_payload())
    assert [link for link in links if not link.startswith("https://")] == []
    own = re.compile(rf".*/gunicorn-raindrops/(?:blob/)?v{metadata['Version']}/([^#]+).*")
    files = {found[1] for found in map(own.fullmatch, links) if found}
    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []
