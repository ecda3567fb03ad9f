"""Debian's packages unpacked into a folder, without installing anything: `debian.py python3.14`,
`debian.py python3.15`, `debian.py arm64`.

The newest Pythons come from sid, with the libc that they need; patchelf points them to it, so they
run here like any other. arm64's Python comes from bookworm and runs under qemu. apt keeps lists,
state and archives of its own in the folder.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCE = f"deb [signed-by={KEYRING}] {{}} {{}} main\n"
MIRROR = "http://deb.debian.org/debian"


def run(*command: object) -> None:
    """Run a command that must succeed; its output is shown when it does not."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")


def apt(state: Path, architecture: str, *words: str) -> None:
    """Run apt-get on a state of its own, in which nothing is installed."""
    options = {
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "APT::Sandbox::User": "root",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    run("apt-get", "-qq", *given, *words)


def unpack(suite: str, architecture: str, *packages: str) -> Path:
    """Unpack packages, with all that they depend on; returns the folder."""
    folder = FOLDER / f"{packages[0]}-{architecture}"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / "apt" / part).mkdir(parents=True)
    (folder / "apt/status").touch()
    (folder / "apt/sources.list").write_text(SOURCE.format(MIRROR, suite))
    apt(folder / "apt", architecture, "update")
    apt(folder / "apt", architecture, "install", "--download-only", "--no-install-recommends",
        "--yes", *packages)  # fmt: skip
    for package in sorted((folder / "apt/cache/archives").glob("*.deb")):
        run("dpkg-deb", "-x", package, folder)
    shutil.rmtree(folder / "apt")
    return folder


def python(name: str) -> Path:
    """Unpack one of sid's Pythons for this machine and return the interpreter."""
    folder = unpack("sid", "amd64", f"{name}-minimal", f"lib{name}-stdlib")
    interpreter = folder / "usr/bin" / name
    libraries = folder / "usr/lib/x86_64-linux-gnu"
    patchelf = [Path(sys.executable).parent / "patchelf", "--force-rpath", "--set-rpath", libraries]
    run(*patchelf, "--set-interpreter", libraries / "ld-linux-x86-64.so.2", interpreter)
    return interpreter


def arm64() -> Path:
    """Unpack bookworm's Python for arm64 and return the folder."""
    return unpack("bookworm", "arm64", "python3.11-minimal", "libpython3.11-stdlib")


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(arm64() if wanted == "arm64" else python(wanted), flush=True)
