"""Every code block of README and docs is run, page by page; one that cannot be run is an error.

Each page is a scenario: see blocks.py for what a block may be, matching.py for how output is
compared, shell.py for how commands are run.
"""

import collections
import os
import re
import shutil
import subprocess
import sys

import pytest

from .blocks import ROOT, Unfit, blocks
from .matching import agrees, has

pytestmark = pytest.mark.once

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
WITH_BLOCKS = [page for page in PAGES if "```" in page.read_text()]
UNSHARE = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
if os.getuid():
    UNSHARE += ["--user", "--map-root-user"]


def _can_unshare():
    if sys.platform != "linux" or not shutil.which("unshare"):
        return False
    mounts = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/srv"]
    return subprocess.run(mounts, stderr=subprocess.DEVNULL).returncode == 0


isolated = pytest.mark.skipif(
    not _can_unshare() or ROOT.is_relative_to("/srv") or ROOT.is_relative_to("/run"),
    reason="needs Linux, unshare(1), the right to make namespaces, a repository outside /srv",
)


def name(page):
    """Return how a page is called."""
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


PROGRAMS = ["curl", "nginx", "promtool", "prometheus", "ruby", "unicorn", "systemd-socket-activate"]
"""What pages use beside Python's packages; CI has them all."""


def missing(page):
    """Return the first program that a page uses and that is not here."""
    used = re.findall(r"^\$ (?:\S+=\S+ )*(\S+)", page.read_text(), re.M)
    return next((one for one in used if one in PROGRAMS and not shutil.which(one)), None)


def run(page):
    """Run a page in namespaces of its own; returns the exit status and what was printed."""
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-m", "tests.docs.scenario", str(page)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout


@isolated
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name)
def test_a_page(page):
    """All of its blocks run, and print what it says."""
    if missing(page):
        pytest.skip(f"needs {missing(page)}")
    status, output = run(page)
    assert status == 0, output
    assert output.splitlines()[-1].startswith(f"{len(blocks(page))} blocks ran")


def test_the_count():
    """What is there is run; what is only shown is the exception."""
    kinds = collections.Counter(block.kind for page in WITH_BLOCKS for block in blocks(page))
    print(dict(kinds))
    assert kinds["console"] > 20
    assert kinds["shown"] * 10 < kinds.total()


@pytest.mark.parametrize("page", [page for page in PAGES if page not in WITH_BLOCKS], ids=name)
def test_a_page_without_blocks(page):
    """No way to write a block escapes."""
    assert blocks(page) == []


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name)
def test_files_are_used(page):
    """A file that a page has its reader write is named by a later block."""
    found = blocks(page)
    for at, block in enumerate(found):
        if block.title and block.title != "gunicorn.conf.py":  # gunicorn's own default
            module = re.escape(block.title.removesuffix(".py").rpartition("/")[2])
            later = "\n".join(other.text for other in found[at + 1 :])
            assert re.search(rf"(?<!\w){module}(?!\w)", later), block.title


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name)
def test_no_progress_is_shown(page):
    """A curl whose output goes on shows its progress at a reader's terminal, but for `-s`. Here
    .curlrc silences it."""
    commands = [
        one.text for block in blocks(page) if block.kind == "console" for one in block.commands
    ]
    assert not [one for one in commands if re.search(r"\bcurl (?!.*-s)[^|&;]*( -o |\|)", one)]


@pytest.fixture
def written(tmp_path):
    """Write a page."""

    def write(text):
        page = tmp_path / "page.md"
        page.write_text(text)
        return page

    return write


UNFIT = {
    "another language": "```bash\nls\n```\n",
    "no language": "```\nls\n```\n",
    "no fence": "Text\n\n    ls\n",
    "HTML": "<pre><code>$ ls</code></pre>\n",
    "waves": "~~~bash\nls\n~~~\n",
    "in a list": "- One:\n\n    ```bash\n    ls\n    ```\n",
    "in a box": "!!! note\n\n    ```bash\n    ls\n    ```\n",
    "no such file": '```yaml\n--8<-- "examples/none.yml"\n```\n',
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_block_that_no_rule_can_run(written, kind):
    with pytest.raises(Unfit, match="page"):
        blocks(written(UNFIT[kind]))


WRONG = {
    "other output": ("```console\n$ echo one\ntwo\n```\n", "the page says:\ntwo\nit is:\none"),
    "it fails": ("```console\n$ cd nowhere\n```\n", "exit status 1"),
    "no such program": ("```console\n$ gunicron app:app\n```\n", "not found"),
    "it fails, and says whatever": ("```console\n$ cd nowhere\n...\n```\n", "exit status 1"),
    "in the background": (
        "```console\n$ gunicron app:app &\n$ gunicorn-raindrops listeners\n```\n",
        "not found",
    ),
    "no such extra": (
        "```console\n$ pip install 'gunicorn-raindrops[tops]'\n```\n",
        "does not provide",
    ),
    "a server that ends": ("```console\n$ gunicorn nothing:app\n```\n", "No module named"),
    "a program that raises": ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
    "a doctest": ("```python\n>>> 1 + 1\n'two'\n```\n", "Expected"),
    "a file that is no Python": ('```python title="app.py"\ndef\n```\n', "SyntaxError"),
}


@isolated
@pytest.mark.parametrize("kind", WRONG)
def test_a_block_that_is_wrong(written, kind):
    """It is an error, and the message says what is wrong."""
    page, message = WRONG[kind]
    status, output = run(written(page))
    assert status == 1
    assert message in output


RIGHT = """
```python title="app.py"
import time


def app(environ, start_response):
    time.sleep(2)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\\n"]
```

```console
$ gunicorn -c python:gunicorn_raindrops.conf --threads 2 \\
      app:app
[INFO] gunicorn-raindrops: status at http://127.0.0.1:9180/_raindrops
$ curl 127.0.0.1:8000/ &
$ curl 127.0.0.1:9180/_raindrops
calling: 1
writing: 0
127.0.0.1:8000 active: 1
127.0.0.1:8000 queued: 0
waiting: 0
$ gunicorn-raindrops status --pid 4711
calling: 1
...
$ gunicorn-raindrops top --pid 4711
$ gunicorn-raindrops listeners -d 1
$ NAME=value; export NAME
$ echo $NAME
value
```

```python
from gunicorn_raindrops import tcp_listener_stats

seen = tcp_listener_stats("127.0.0.1:8000")
```

```python
>>> seen["127.0.0.1:8000"]
ListenStats(active=..., queued=0, backlog=2048, dropped=0)
```
"""


@isolated
def test_a_page_that_is_right(written):
    status, output = run(written(RIGHT))
    assert (status, output) == (0, "4 blocks ran, with 8 commands\n"), output


@isolated
def test_what_is_over_is_begun_once_more(written):
    """A busy machine takes longer for the commands of a page than its requests do."""
    slow = RIGHT.replace("$ gunicorn-raindrops status", "$ sleep 3\n$ gunicorn-raindrops status")
    status, output = run(written(slow))
    assert (status, output) == (0, "4 blocks ran, with 9 commands\n"), output


def test_output_is_compared():
    """Any number is any other, but 0; `...` is anything."""
    assert agrees(["queued: 4", "took 3.2s...34M"], "queued: 12\ntook 11ms, rss   980K\n")
    assert agrees([], "whatever")
    assert agrees(["a", "...", "b", "..."], "a\nb\n")
    assert agrees(["a", "...", "b", "..."], "a\n1\n2\nb\nc\n")
    assert not agrees(["a ...", "c"], "a b\nb\nc\n")
    assert not agrees(["calling: 4"], "calling: 0\n")
    assert not agrees(["queued: 0"], "queued: 1\n")
    assert not agrees(["calling: 4"], "calling: 2\n")
    assert not agrees(["401"], "200\n")
    assert not agrees(["one"], "one\ntwo\n")
    assert not agrees(["one", "two"], "one\n")


def test_a_log_is_searched():
    assert has(["[INFO] ready", "bye"], "x [INFO] ready\nmore\nbye\n")
    assert not has(["bye", "[INFO] ready"], "x [INFO] ready\nmore\nbye\n")
