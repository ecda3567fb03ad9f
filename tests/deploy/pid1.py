"""A systemd of the tests' own: pid 1 of namespaces in which nothing of this machine can be changed.

It has its own mounts, processes, network, host name and control group. The root file system is
read-only there, /run, /srv and /tmp are empty, and it knows only the units that it is given, so it
starts nothing of the machine's. It is ended by SIGKILL, and everything in it with it.
"""

import contextlib
import functools
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ..bounds import WAIT
from ..integration.servers import ROOT, eventually
from ..processes import children

SYSTEMD = "/lib/systemd/systemd"
USER = "www-data"
TARGETS = ("sysinit", "basic", "sockets", "shutdown", "network", "multi-user", "umount")

INSIDE = r"""
set -e
units=$1 repo=$2 venv=$3
shift 3
mount --make-rprivate /
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/units /run/repo
cp -r "$units"/. /run/units
mount --bind "$repo" /run/repo
mount -o remount,bind,ro /
for empty in /tmp /var/tmp /srv; do mount -t tmpfs tmpfs "$empty"; done
test -d "$repo" || { mkdir -p "$repo"; mount --bind /run/repo "$repo"; }
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
touch /run/console
mount --bind /run/console /dev/console || true
mkdir /srv/app
cp /run/units/*.py /srv/app/ 2>/dev/null || true
ln -s "$venv" /srv/app/venv
exec env -i PATH="$PATH" container=test SYSTEMD_UNIT_PATH=/run/units \
    SYSTEMD_GENERATOR_PATH=/run/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/none "$@"
"""
NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc", "--cgroup")
BOOT = (SYSTEMD, "--system", "--unit=test.target", "--log-target=console", "--show-status=no")


def control_group():
    """Return where this process may have a control group of its own; None if nowhere."""
    mounts = re.findall(r"^\S+ (\S+) cgroup2 ", Path("/proc/mounts").read_text(), re.M)
    own = re.search(r"^0::(.*)$", Path("/proc/self/cgroup").read_text(), re.M)
    return Path(mounts[0] + own[1]) / f"raindrops-{os.getpid()}" if mounts and own else None


def inside(units, *command):
    """Return what starts a command as pid 1 of new namespaces, in the control group."""
    enter = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'
    unshare = ["unshare", *NAMESPACES, "--mount-proc", "sh", "-c", INSIDE, "sh"]
    where = [str(units), str(ROOT), sys.prefix]
    return ["sh", "-c", enter, "sh", str(control_group()), *unshare, *where, *command]


@functools.cache
def reason_against():
    """Return why no systemd can be had here; nothing if one can."""
    if not Path(SYSTEMD).exists() or not shutil.which("nsenter"):
        return "no systemd: apt-get install systemd"
    if os.getuid() or control_group() is None:
        return "needs root, and a control group of version 2"
    with contextlib.suppress(KeyError), group(), tempfile.TemporaryDirectory() as empty:
        pwd.getpwnam(USER)
        done = subprocess.run(inside(empty, "true"), capture_output=True, text=True)
        return f"no namespaces: {done.stderr}" if done.returncode else ""
    return f"no user {USER}"


@contextlib.contextmanager
def group():
    """Have the control group, and remove it with all that was made in it."""
    top = control_group()
    try:
        top.mkdir()
    except OSError as error:
        pytest.skip(f"no control group: {error}")
    try:
        yield
    finally:
        eventually(lambda: not _remove(top), "an empty control group")


def _remove(top):
    for folder, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):  # a process in it is about to be gone
            Path(folder).rmdir()
    return top.exists()


class Systemd:
    """Use it in `with`.

    Args:
        units: a folder with units to know, and files *.py for /srv/app.
        wants: those to start.
    """

    def __init__(self, units, *wants):
        if reason := reason_against():
            pytest.skip(reason)
        for name in TARGETS:
            (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        target = f"[Unit]\nDefaultDependencies=no\nWants={' '.join(wants)}\n"
        (units / "test.target").write_text(target)
        self._units = units
        self._group = group()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._group)
            self._process = subprocess.Popen(inside(self._units, *BOOT), stdin=subprocess.DEVNULL)
            stack.callback(self._stop)
            (self.pid,) = eventually(lambda: children(self._process.pid), "pid 1")
            eventually(self._is_up, "systemd")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _stop(self):
        for pid in children(self._process.pid):
            os.kill(pid, 9)  # of a namespace's pid 1: all others in it get it, too
        self._process.terminate()
        self._process.wait(WAIT)

    def _is_up(self):
        return self._systemctl("is-active", "test.target").stdout == "active\n"

    def _systemctl(self, *args):
        command = ["nsenter", "-t", str(self.pid), "-m", "-p", "systemctl", *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=2 * WAIT)

    def systemctl(self, *args):
        """Run it inside; returns what it says. It must succeed."""
        done = self._systemctl(*args)
        assert done.returncode == 0, done.stderr + self.log()
        return done.stdout

    def drop_in(self, unit, text):
        """Add lines to a unit, or none; and have systemd read it."""
        folder = self.path(f"/run/units/{unit}.d")
        folder.mkdir(exist_ok=True)
        (folder / "drop-in.conf").write_text(text)
        self.systemctl("daemon-reload")

    def path(self, path):
        """Return where a path of the inside is outside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def log(self):
        """Return the log of the service."""
        path = self.path("/run/app.log")
        return path.read_text() if path.exists() else ""

    def ask(self, listener, path):
        """Ask at a unix listener of the inside; returns the body."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(WAIT)
            client.connect(str(self.path(listener)))
            client.sendall(b"GET %s HTTP/1.0\r\nHost: x\r\n\r\n" % path.encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.split()[1] == b"200", answer
        return answer.partition(b"\r\n\r\n")[2]
