"""All that can be known of a release before its tag is pushed: `make release-check`.

One line for each check, with the last line of what it said; status 1 when one failed, whose output
is shown. TAG (v1.2.3) makes it strict: the version must be that, and the changelog must date it.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from targets import TARGETS
from wheels import ROOT, epoch, git, sdist, wheel

DIST = ROOT / "dist"
TOOLS = Path(sys.executable).parent
PYTEST = [ROOT / ".venv/bin/python", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]

Check = Callable[[], str]


def run(*command: object, **variables: str) -> str:
    """Run a command in the root and return what it said; AssertionError with that if it failed."""
    done = subprocess.run([str(word) for word in command], cwd=ROOT, env=os.environ | variables,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tree() -> str:
    """Nothing is changed and not committed."""
    changed = git("status", "--porcelain")
    assert not changed, changed
    return git("log", "-1", "--format=%h %s").strip()


def version() -> str:
    """The package, the changelog and the tag agree."""
    init = (ROOT / "gunicorn_raindrops/__init__.py").read_text()
    ours = re.search(r'^__version__ = "(.+)"', init, re.M)[1]
    dated = re.search(
        rf"^## \[{re.escape(ours)}\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.M
    )
    tag = os.environ.get("TAG")
    if tag:
        assert tag == f"v{ours}", f"the tag is {tag}, the package {ours}"
        assert dated, f"CHANGELOG.md has no [{ours}] with a date"
    return f"{ours}, {dated[1] if dated else 'not dated in CHANGELOG.md: no release yet'}"


def wheels() -> str:
    """The sdist and all wheels are built."""
    run(sys.executable, "release/wheels.py", DIST)
    return f"{len(archives())} files"


def again() -> str:
    """Another build gives the same bytes."""
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
    with tempfile.TemporaryDirectory() as name:
        source = sdist(Path(name))
        for made in (source, wheel(source, TARGETS[0], Path(name))):
            assert made.read_bytes() == (DIST / made.name).read_bytes(), f"{made.name} differs"
    return "the sdist, and the first wheel"


def archives(pattern: str = "*.[wt]*") -> list[Path]:
    """Return what has been built, without the bill of materials."""
    return sorted(path for path in DIST.glob(pattern) if path.suffix in (".whl", ".gz"))


def auditwheel() -> str:
    """auditwheel names the platform that the wheel's name has; of those for glibc."""
    for path in archives("*manylinux*"):
        tag = path.stem.rpartition(".")[2]
        said = run(TOOLS / "auditwheel", "show", path)
        assert f'platform tag: "{tag}"' in " ".join(said.split()), said
    return "manylinux"


def tests(name: str) -> Check:
    """Return the check that a file of tests passes, with the wheels at hand."""
    return lambda: run(*PYTEST, f"tests/release/{name}.py", WHEELS="dist")


def tool(name: str, *words: object, pattern: str = "*.whl") -> Check:
    """Return the check that a tool has nothing to say of what has been built."""
    return lambda: run(TOOLS / name, *words, *archives(pattern)) and "nothing to say"


CHECKS: dict[str, Check] = {
    "tree": tree,
    "version": version,
    "wheels": wheels,
    "the same bytes again": again,
    "contents and platforms": lambda: run(sys.executable, "release/audit.py", *archives("*.whl")),
    "auditwheel": auditwheel,
    "abi3audit": tool("abi3audit", "--strict", "--report"),
    "check-wheel-contents": tool("check-wheel-contents"),
    "twine": tool("twine", "check", "--strict", pattern="*.[wt]*"),
    "bill of materials": lambda: run(sys.executable, "release/bill.py", DIST),
    "sdist": tests("test_sdist"),
    "workflows, forms, changelog": tests("test_project_files"),
    "zizmor": lambda: run(
        TOOLS / "zizmor", "--offline", "--quiet", "--min-severity=medium", ".github"
    ),
    "installed without a compiler": tests("test_install"),
    "documentation": lambda: run("make", "-s", "--no-print-directory", "docs") or "no warning",
    "aarch64": lambda: run(sys.executable, "release/aarch64.py", "dist"),
}


def main() -> int:
    """Do all checks, in their order, or those that are named; returns 1 if one failed."""
    failed = 0
    for name, check in CHECKS.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        began = time.monotonic()
        try:
            result, said = "ok  ", check()
        except AssertionError as error:
            result, said = "FAIL", f"{error}"
            failed += 1
        seconds = f"{time.monotonic() - began:4.0f} s"
        last = said.strip().splitlines()[-1:] if result == "ok  " else [f"\n{said}"]
        print(f"{result}  {seconds}  {name}  {''.join(last)}".rstrip(), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
