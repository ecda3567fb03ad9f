"""The Dockerfiles. No Docker and no image is here. hadolint checks them; pip resolves what they
install, for Debian's C library and for musl; and the slim one's lines are run, as they stand there,
in a new virtual environment: no compiler on PATH, process and network namespaces of its own, so
gunicorn is process 1 as in a container. `USER` is not: the Python here is another user's.

`make test-deploy` installs hadolint and dockerfile-parse, and builds the wheels (WHEELS).
"""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..bounds import WAIT
from ..integration.servers import ROOT, eventually
from ..wheels import pythons
from .environment import tool
from .images import container

pytestmark = pytest.mark.once

FOLDER = ROOT / "examples/deploy/docker"
NAMES = ("Dockerfile", "Dockerfile.alpine")
WHEELS = os.environ.get("WHEELS")
needs_wheels = pytest.mark.skipif(not WHEELS, reason="`make test-deploy` builds them, says where")
PARSE = """
import json, sys
from dockerfile_parse import DockerfileParser
lines = DockerfileParser(fileobj=open(sys.argv[1], "rb")).structure
print(json.dumps([(one["instruction"], one["value"]) for one in lines]))
"""


@functools.cache
def instructions(name):
    """Return a Dockerfile's instructions, each with what stands behind it."""
    command = [tool("python"), "-c", PARSE, FOLDER / name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [(word, value) for word, value in json.loads(done.stdout) if word != "COMMENT"]


def only(name, wanted):
    """Return the value of the one instruction of that name."""
    (found,) = [value for word, value in instructions(name) if word == wanted]
    return found


def variables(name):
    """Return what ENV sets."""
    pairs = re.findall(r'(\w+)=(?:"([^"]*)"|(\S+))', only(name, "ENV"))
    return {key: quoted or bare for key, quoted, bare in pairs}


def health_command(name):
    """Return the HEALTHCHECK's command."""
    return json.loads(only(name, "HEALTHCHECK").partition("CMD ")[2])


@pytest.mark.parametrize("name", NAMES)
def test_hadolint(name):
    """No warning."""
    done = subprocess.run(
        [tool("hadolint"), FOLDER / name], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_finds_faults(tmp_path):
    """It is asked for a reason."""
    text = (FOLDER / "Dockerfile").read_text().replace("FROM python:3.13-slim", "FROM python")
    (tmp_path / "Dockerfile").write_text(text)
    done = subprocess.run(
        [tool("hadolint"), tmp_path / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "DL3006" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_what_counts(name):
    """gunicorn is process 1, nothing is compiled, and health is asked at the status address."""
    assert json.loads(only(name, "CMD")) == ["gunicorn", "app:app"]
    assert "--only-binary :all:" in only(name, "RUN")
    assert "--worker-tmp-dir /dev/shm" in variables(name)["GUNICORN_CMD_ARGS"]
    assert only(name, "USER") == "1000:1000"
    assert any("http://127.0.0.1:9180/_raindrops" in word for word in health_command(name))


def test_both_are_alike():
    """They differ in the image and in what asks for health."""
    slim, alpine = (dict(instructions(name)) for name in NAMES)
    for word in ("FROM", "HEALTHCHECK"):
        assert slim.pop(word) != alpine.pop(word)
    assert slim == alpine


@pytest.mark.slow
@needs_wheels
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("libc", ["manylinux2014", "musllinux_1_2"])
def test_all_have_wheels(libc, machine, tmp_path):
    """For Debian and for Alpine, of today's images: pip finds wheels of all, ours among them."""
    tag = f"{libc}_{machine}"
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--dry-run", "--ignore-installed", "--target", tmp_path / "x", "--report", report]
    command += ["--python-version", "3.13", "--platform", tag, "--only-binary", ":all:"]
    if libc.startswith("many"):  # glibc's newer tags stand beside the old one
        command += ["--platform", f"manylinux_2_28_{machine}"]
    command += ["--find-links", WHEELS, "gunicorn-raindrops"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if re.search("(?i)failed to establish|temporary failure in name|timed out", done.stderr):
        pytest.skip("no network: pip cannot ask PyPI")
    assert done.returncode == 0, done.stderr
    found = [one["download_info"]["url"] for one in json.loads(report.read_text())["install"]]
    names = {re.split("[-_]", url.rpartition("/")[2])[0].lower() for url in found}
    assert {"gunicorn", "cffi", "prometheus", "pyroute2"} <= names
    binary = [url for url in found if "none-any" not in url]
    assert {"cffi", "gunicorn"} <= {re.split("[-_]", Path(url).name)[0] for url in binary}
    assert all(machine in url and libc[:4] in url for url in binary)


APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return [b"hello\\n"]
"""
IN_CONTAINER = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
START = 'ip link set lo up; exec "$@"'


def can_unshare():
    """Tell whether namespaces can be made here."""
    found = shutil.which("unshare") and shutil.which("nsenter") and shutil.which("ip")
    return found and not subprocess.run([*IN_CONTAINER, "true"], capture_output=True).returncode


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The folder and the variables that the slim Dockerfile's lines up to CMD lead to."""
    if not can_unshare():
        pytest.skip("needs unshare(1), nsenter(1), ip(8), and the right to make namespaces")
    folder = tmp_path_factory.mktemp("image")
    shutil.copy(FOLDER / "requirements.txt", folder)
    (folder / "app.py").write_text(APP)
    version = re.search(r"python:(\d+)\.(\d+)-slim", only("Dockerfile", "FROM"))
    python = pythons().get((int(version[1]), int(version[2])))
    if python is None:
        pytest.skip("needs pyenv's Python of the image's version")
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True, timeout=120)
    keep = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    shell = keep | {"HOME": os.environ["HOME"], "PATH": str(folder / "venv/bin")}
    assert not any(shutil.which(name, path=shell["PATH"]) for name in ("cc", "gcc", "clang"))
    run = subprocess.run(
        ["/bin/sh", "-c", only("Dockerfile", "RUN")],
        cwd=folder,
        env=shell | {"PIP_FIND_LINKS": str(Path(WHEELS).absolute())},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return folder, shell | variables("Dockerfile")


def started(image):
    """Run CMD; gives the pid of its process 1, as the host has it, and its log."""
    folder, shell = image
    command = [*IN_CONTAINER, START, "sh", *json.loads(only("Dockerfile", "CMD"))]
    # unshare, sh and ip are the host's; what they start finds the image's own first
    env = shell | {"PATH": f"{shell['PATH']}:{os.environ['PATH']}", "HOME": str(folder)}
    return container(command, folder / "log", cwd=folder, env=env)


def inside(image, first, *command):
    """Run a command in the container, as `docker exec` does; returns how it ended."""
    folder, shell = image
    nsenter = ["nsenter", "--target", str(first), "--net", "--pid", "--mount"]
    env = shell | {"PATH": f"{shell['PATH']}:{os.environ['PATH']}"}
    return subprocess.run(
        [*nsenter, *command],
        cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.slow
@needs_wheels
def test_the_lines_of_the_dockerfile(image):
    """Installed without a compiler, gunicorn is process 1, healthy, and ends at a SIGTERM."""
    with started(image) as (process, first, log):
        status = Path(f"/proc/{first}/status").read_text()
        assert re.search(r"NSpid:\s+\d+\s+1\n", status)
        check = health_command("Dockerfile")
        eventually(lambda: inside(image, first, *check).returncode == 0, "the health check")
        os.kill(first, signal.SIGTERM)
        assert process.wait(2 * WAIT) == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
@needs_wheels
def test_the_health_check_fails(image):
    """Where nobody answers."""
    with started(image) as (_, first, _):
        check = [word.replace(":9180", ":9181") for word in health_command("Dockerfile")]
        assert inside(image, first, *check).returncode == 1


@pytest.mark.slow
@needs_wheels
def test_status_from_the_host_and_from_within(image):
    """By the host's pid, and in the container without argument."""
    folder, _ = image
    command = folder / "venv/bin/gunicorn-raindrops"
    with started(image) as (_, first, _):
        host = subprocess.run(
            [command, "status", "--pid", str(first)], capture_output=True, text=True, timeout=60
        )
        within = inside(image, first, "gunicorn-raindrops", "status")
    for done in (host, within):
        assert done.returncode == 0, done.stderr
        assert "calling: 0" in done.stdout
        assert "0.0.0.0:8000 queued: 0" in done.stdout
