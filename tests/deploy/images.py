"""Images without a registry: a stand-in for `python:X.Y-slim`, and what is built on it by buildah.

The stand-in has what the Dockerfile may rely on: that Python with its pip, a shell, the libraries
that these two load, and no compiler. Its wheels are in a folder that pip looks into, and it asks
no index.
"""

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from ..integration.servers import eventually
from ..processes import children

LEFT_OUT = shutil.ignore_patterns("test", "idlelib", "tkinter", "__pycache__", "config-*", "*.a")
PIP = (
    "#!/usr/local/bin/python3\nfrom pip._internal.cli.main import main\nraise SystemExit(main())\n"
)
BASE = {"PATH": "/usr/local/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}


def root_of(python, into):
    """Fill a folder with what the stand-in has; `python` is an interpreter in its own prefix."""
    prefix = python.resolve().parent.parent
    (into / "usr/local").mkdir(parents=True)
    for part in ("bin", "lib"):
        shutil.copytree(prefix / part, into / "usr/local" / part, symlinks=True, ignore=LEFT_OUT)
    (into / "usr/local/bin/pip").write_text(PIP)
    for folder in ("bin", "dev", "etc", "proc", "tmp"):
        (into / folder).mkdir()
    (into / "tmp").chmod(0o1777)
    shutil.copy("/bin/sh", into / "bin/sh")
    modules = into.glob("usr/local/lib/python3*/lib-dynload/*.so")
    for library in _libraries([*modules, python]) | _parts_of_glibc():
        target = into / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
        if library.name.startswith("libc.so"):  # the linker looks for libpython there, too
            for own in into.glob("usr/local/lib/libpython*.so*"):
                shutil.copy(own, target.parent)


def _libraries(files):
    """Return the machine's libraries that these files and the shell load."""
    command = ["ldd", "/bin/sh", *files]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"(?:=> |\s)(/(?:usr/)?lib\S*)", said)
    return {Path(path) for path in found}


def _parts_of_glibc():
    """Return those that a wheel for an old glibc names, empty as they are in a new one."""
    folders = (Path("/lib"), Path("/lib64"), *Path("/lib").glob("*-linux-gnu"))
    names = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libm.so.6", "libutil.so.1")
    return {folder / name for folder in folders for name in names if (folder / name).exists()}


def download(wheels, version, into):
    """Put the wheels of gunicorn-raindrops and of what it requires into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
    command += ["--python-version", version, "--dest", into, "--find-links", wheels]
    for tag in ("manylinux2014_x86_64", "manylinux_2_28_x86_64"):
        command += ["--platform", tag]
    subprocess.run([*command, "gunicorn-raindrops"], check=True, timeout=180)


class Store:
    """A store of images in a folder."""

    def __init__(self, folder):
        self._options = ["--root", folder / "store", "--runroot", folder / "run"]
        self._options += ["--storage-driver", "vfs"]

    def buildah(self, *words):
        """Run buildah; returns what it prints.

        Raises:
            RuntimeError: it fails.
        """
        command = ["buildah", *self._options, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout.strip()

    def add_base(self, root, name):
        """Make an image of a folder."""
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, root, "/")
        for key, value in BASE.items():
            self.buildah("config", "--env", f"{key}={value}", container)
        self.buildah("commit", "--quiet", "--rm", container, f"docker.io/library/{name}")

    def build(self, context, name):
        """Build the Dockerfile of a folder, with nothing but what is in the store."""
        options = ["--isolation", "chroot", "--format", "docker"]
        return self.buildah("bud", *options, "--pull-never", "--tag", name, context)

    def config(self, name):
        """Return the image's config, as Docker has it."""
        return json.loads(self.buildah("inspect", "--type", "image", name))["Docker"]["config"]

    def mount(self, name):
        """Return the folder that has a container's files."""
        return Path(self.buildah("mount", self.buildah("from", "--pull-never", name)))


@contextmanager
def container(command, log, **options):
    """Run what starts gunicorn as process 1 of namespaces of its own; gives the host's process, the
    host's pid of process 1, and the log."""
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr, **options) as process:
        try:
            eventually(lambda: "Booting worker" in log.read_text(), log.read_text)
            (first,) = children(process.pid)
            yield process, first, log
        finally:
            process.kill()
