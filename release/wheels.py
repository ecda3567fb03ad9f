"""Build the sdist, and from it a wheel for each platform, into a folder: `make wheels`.

The sdist is made of the files that git knows, and the wheels are made of the sdist. So a file that
lies about here gets into neither, and a file that the build needs cannot be missing in the sdist.

The same commit gives the same bytes again: all times are the commit's (SOURCE_DATE_EPOCH), and the
compiler is pinned in requirements.txt.
"""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from targets import TARGETS, Target

ROOT = Path(__file__).parent.parent


def run(*command: object, **options: object) -> None:
    """Run a command that must succeed; its output is shown when it does not."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")


def git(*words: str) -> str:
    """Return what git says of this repository."""
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def tracked() -> list[str]:
    """Return the files that git knows and that are there."""
    return [name for name in git("ls-files", "-z").split("\0") if name and (ROOT / name).exists()]


def epoch() -> int:
    """Return the time that all files get: SOURCE_DATE_EPOCH, or the last commit's."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct"))


def build(kind: str, source: Path, into: Path, variables: dict[str, str]) -> Path:
    """Run the build backend of this environment on a folder; returns what it made."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", into]
    run(*command, source, env={**os.environ, **variables})
    (made,) = into.iterdir()
    return made


def same_times(archive: Path, into: Path) -> Path:
    """Write a .tar.gz anew, with one time, one owner and plain modes; setuptools has no switch."""
    packed = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=packed, mode="w") as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.mode = epoch(), 0o755 if member.mode & 0o100 else 0o644
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    path = into / archive.name
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=epoch()) as zipped:
        zipped.write(packed.getvalue())
    return path


def sdist(into: Path) -> Path:
    """Build the sdist from a copy of what git knows."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name, "copy")
        for file in tracked():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, copy / file)
        return same_times(build("sdist", copy, Path(name, "made"), {}), into)


def wheel(source: Path, target: Target, into: Path) -> Path:
    """Build the wheel of one platform from the sdist, and name it after the platform."""
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(source) as archive:
            archive.extractall(name, filter="data")
        (unpacked,) = Path(name).iterdir()
        made = build("wheel", unpacked, Path(name, "made"), target.environment())
        run(sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", target.tag, made)
        (tagged,) = made.parent.iterdir()
        return Path(shutil.copy(tagged, into))


def main() -> None:
    """Fill the folder, which is emptied first."""
    into = Path(sys.argv[1]).absolute()
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch())
    source = sdist(into)
    print(source.name, flush=True)
    for target in TARGETS:
        print(wheel(source, target, into).name, flush=True)


if __name__ == "__main__":
    main()
