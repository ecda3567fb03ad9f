"""The slim Dockerfile, built by buildah, and its image run as its config says.

The base image is a stand-in (`images`); the image's files are run by chroot(8) in namespaces of
their own, as its user, with its variables and commands. No Docker is here, nor a registry.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from ..bounds import WAIT
from ..integration.servers import ROOT, eventually
from ..wheels import pythons
from .images import Store, container, download, root_of

WHEELS = os.environ.get("WHEELS")
pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.skipif(not WHEELS, reason="`make test-deploy` builds them, says where"),
    pytest.mark.skipif(not shutil.which("buildah"), reason="no buildah: apt-get install buildah"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts, and changes its user"),
]

FOLDER = ROOT / "examples/deploy/docker"
APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return [b"hello\\n"]
"""
AS_ITS_USER = """
exec chroot --userspec "$RUN_AS" "$ROOT" /bin/sh -c 'cd "$0"; unset ROOT RUN_AS; exec "$@"' "$@"
"""
START = f"""
ip link set lo up
mount -t proc proc "$ROOT/proc"
mkdir -p "$ROOT/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm"
touch "$ROOT/dev/null" "$ROOT/dev/urandom"
for device in null urandom; do mount --bind /dev/$device "$ROOT/dev/$device"; done
{AS_ITS_USER}"""
NAMESPACES = ["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child"]


@pytest.fixture(scope="module")
def image():
    """The image's files and config, after a build."""
    name = re.search(
        r"^FROM (python:(\d+)\.(\d+)-slim)$", (FOLDER / "Dockerfile").read_text(), re.M
    )
    python = pythons().get((int(name[2]), int(name[3])))
    if python is None:
        pytest.skip("needs pyenv's Python of the image's version")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        here.chmod(0o755)
        root_of(python, here / "base")
        download(WHEELS, f"{name[2]}.{name[3]}", here / "base/wheels")
        store = Store(here)
        store.add_base(here / "base", name[1])
        shutil.copytree(FOLDER, here / "context")
        (here / "context/app.py").write_text(APP)
        print(store.build(here / "context", "app"))
        yield store.mount("app"), store.config("app")


def environment(root, config):
    """Return the variables of the image, and two for START; the host's PATH comes after."""
    variables = dict(pair.split("=", 1) for pair in config["Env"])
    variables["PATH"] += ":/usr/sbin:/usr/bin:/sbin"
    return variables | {"ROOT": str(root), "RUN_AS": config["User"]}


def started(image, tmp_path):
    """Run the image, see `container`."""
    root, config = image
    command = [*NAMESPACES, "/bin/sh", "-ec", START, "sh", config["WorkingDir"], *config["Cmd"]]
    return container(command, tmp_path / "log", env=environment(root, config))


def inside(image, first, *command):
    """Run a command in the container, as `docker exec` does; returns how it ended."""
    root, config = image
    nsenter = ["nsenter", "--target", str(first), "--net", "--pid", "--mount"]
    shell = [*nsenter, "/bin/sh", "-ec", AS_ITS_USER, "sh", config["WorkingDir"]]
    return subprocess.run(
        [*shell, *command],
        env=environment(root, config), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_config(image):
    """What Docker would go by."""
    _, config = image
    assert config["Cmd"] == ["gunicorn", "app:app"]
    assert config["User"] == "1000:1000"
    assert config["WorkingDir"] == "/srv/app"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    assert config["Healthcheck"]["Retries"] == 6


def test_it_runs(image, tmp_path):
    """As process 1 and as its user; healthy; it shows its status, and ends at a SIGTERM."""
    _, config = image
    with started(image, tmp_path) as (process, first, log):
        status = Path(f"/proc/{first}/status").read_text()
        assert re.search(r"^NSpid:\s+\d+\s+1$", status, re.M)
        assert re.search(r"^Uid:\s+1000\s", status, re.M)
        check = config["Healthcheck"]["Test"][1:]
        eventually(lambda: inside(image, first, *check).returncode == 0, "the health check")
        shown = inside(image, first, "gunicorn-raindrops", "status")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "0.0.0.0:8000 queued: 0" in shown.stdout
        os.kill(first, signal.SIGTERM)
        assert process.wait(2 * WAIT) == 0
    assert "Traceback" not in log.read_text()


def test_nothing_compiles_in_it(image):
    """There is no compiler, and the modules are there."""
    root, _ = image
    assert not [*root.glob("usr/**/bin/*cc*"), *root.glob("bin/*cc*")]
    assert [*root.glob("usr/local/lib/python3*/site-packages/gunicorn_raindrops/_native/*.so")]
