"""The shipped config takes ./gunicorn.conf.py along, as gunicorn itself reads it."""

import os
import re
import signal
import subprocess

import pytest

from gunicorn_raindrops import hooks

from ..bounds import WAIT
from .servers import APPS, GUNICORNS, eventually, rewrite

SHIPPED = ("-c", "python:gunicorn_raindrops.conf")
SETTINGS = {
    "workers": 3, "threads": 2, "timeout": 21, "graceful_timeout": 5, "keepalive": 7,
    "max_requests": 1000, "max_requests_jitter": 50, "backlog": 99, "worker_connections": 33,
    "limit_request_line": 2000, "limit_request_fields": 50, "loglevel": "warning",
    "access_log_format": "%(h)s", "proc_name": "mine", "umask": 7, "raw_env": ["MINE=1"],
    "bind": ["127.0.0.1:0"], "preload_app": False, "check_config": False, "spew": False,
}  # fmt: skip
HOOKS = {
    "on_starting": "server", "on_reload": "server", "when_ready": "server",
    "pre_fork": "server, worker", "post_fork": "server, worker", "post_worker_init": "worker",
    "pre_request": "worker, req", "post_request": "worker, req, environ, resp",
    "nworkers_changed": "server, new, old",
}  # fmt: skip
"""Each of a user's hooks with its arguments."""

HOOK = """
def {name}({arguments}):
    import os
    os.write(2, b"mine: {mark}{name}\\n")
"""


def conf(mark="", **settings):
    """Return the text of a user's conf file."""
    text = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    for name, arguments in HOOKS.items():
        text += HOOK.format(name=name, arguments=arguments, mark=mark)
    return text


def printed(gunicorn, folder, *args):
    """Return gunicorn's settings as it prints them, without those that differ by address."""
    command = [GUNICORNS[gunicorn].parent / "gunicorn", *args, "--print-config", "apps:app"]
    env = {**os.environ, "PYTHONPATH": str(APPS), "HOME": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=WAIT, check=True
    )
    return dict(re.findall(r"^(\w+) += (.*)$", done.stdout, re.M))


def test_settings_are_as_without_us(gunicorn, tmp_path):
    """What gunicorn prints of its settings differs in the hooks alone, and in which config it was
    given."""
    (tmp_path / "gunicorn.conf.py").write_text(conf(**SETTINGS))
    bare, ours = printed(gunicorn, tmp_path), printed(gunicorn, tmp_path, *SHIPPED)
    assert bare["workers"] == "3"
    differ = {name for name in bare if bare[name] != ours[name]}
    assert differ == {"config", *hooks.__all__}
    chdir = ("--chdir", str(APPS))
    assert printed(gunicorn, tmp_path, *SHIPPED, *chdir)["workers"] == "3"
    assert printed(gunicorn, tmp_path, *SHIPPED, "--workers", "5")["workers"] == "5"


def said(server):
    return sorted(line for line in server.log if line.startswith("mine: "))


def life(server, path):
    """Lead a server through requests, a HUP that changes its conf, and more; return what its
    user's hooks have said."""
    rewrite(path, conf(workers=2))
    with server:
        eventually(lambda: said(server).count("mine: post_worker_init") == 2, "two workers")
        assert server.get("/")[0] == 200
        eventually(lambda: "mine: post_request" in server.log, "the request's end")
        rewrite(path, conf(mark="new ", workers=1))
        server.send(signal.SIGHUP)
        eventually(lambda: "mine: new post_worker_init" in server.log, "a new worker")
        eventually(lambda: len(server.workers()) == 1, "the old ones' end")
        assert server.get("/")[0] == 200
        eventually(lambda: "mine: new post_request" in server.log, "the request's end")
        if any("status at" in line for line in server.log):
            eventually(lambda: server.settled()["requests"] == 2, "both counted")
            assert server.warnings() == []
    return said(server)


@pytest.mark.parametrize("by", ["option", "variable"])
def test_hooks_run_as_often_as_without_us(serve, gunicorn, tmp_path, by):
    """Before and after a HUP that changes the file, which lies where gunicorn was started."""
    path = tmp_path / "gunicorn.conf.py"
    given = {"conf": None, "cwd": tmp_path, "gunicorn": gunicorn}
    bare = life(serve(**given), path)
    args = SHIPPED if by == "option" else ()
    env = {"GUNICORN_CMD_ARGS": " ".join(SHIPPED)} if by == "variable" else {}
    assert life(serve(*args, **given, env=env), path) == bare
    assert {line.split()[-1] for line in bare} == set(HOOKS)


def test_a_broken_file(serve, gunicorn, tmp_path):
    """The error is gunicorn's own."""
    (tmp_path / "gunicorn.conf.py").write_text("workers = 1 / 0\n")
    logs = []
    for args in ((), SHIPPED):
        server = serve(*args, conf=None, cwd=tmp_path, gunicorn=gunicorn, tracebacks=None)
        with server:
            assert server.process.wait(WAIT) == 1
        logs.append(server.log)
    assert logs[0] == logs[1]
    assert "Failed to read config file" in logs[0][0]


@pytest.mark.parametrize("how", ["install", "conf"])
def test_a_file_that_has_our_hooks(serve, tmp_path, how):
    """Its keywords hold, nothing counts twice; and it may itself import the shipped config."""
    text = "workers = 1\nimport gunicorn_raindrops\n"
    if how == "install":
        text += "gunicorn_raindrops.hooks.install(globals(), max_workers=7)\n"
    else:
        text += "from gunicorn_raindrops.conf import *\nwrites = open('read', 'a').write('once ')\n"
    (tmp_path / "gunicorn.conf.py").write_text(text)
    for args in (SHIPPED,) if how == "install" else (SHIPPED, ()):
        (tmp_path / "read").unlink(missing_ok=True)
        with serve(*args, conf=None, cwd=tmp_path) as server:
            server.ready(1)
            assert server.get("/")[0] == 200
            eventually(lambda s=server: s.settled()["requests"] == 1, "counted once")
            if how == "install":
                assert server.status()["capacity"] == 1
                assert len(server.status()["scoreboard"]) == 7
            else:
                assert (tmp_path / "read").read_text() == "once "


@pytest.mark.parametrize(
    ("gunicorn", "by", "option", "way"),
    [
        ("current", "command line", "--check-config", "shipped"),
        ("current", "command line", "--check", "install"),
        ("current", "variable", "--print", "shipped"),
        ("current", "conf", "", "install"),
        ("23", "command line", "--print-config", "install"),
        ("23", "command line", "--check", "shipped"),
        ("23", "variable", "--check-config", "shipped"),
    ],
)
def test_a_check_of_the_config(gunicorn, tmp_path, by, option, way):
    """`gunicorn --check-config`, which runs no hook, finds a wrong setting of ours; so does
    `--print-config`, which implies it, and so do the abbreviations that gunicorn takes."""
    conf = "check_config = True\n" if by == "conf" else ""
    if way == "install":
        conf += "import gunicorn_raindrops\ngunicorn_raindrops.hooks.install(globals())\n"
    (tmp_path / "gunicorn.conf.py").write_text(conf)
    command = [str(GUNICORNS[gunicorn].parent / "gunicorn"), "apps:app"]
    command += SHIPPED if way == "shipped" else []
    env = {**os.environ, "PYTHONPATH": str(APPS), "HOME": str(tmp_path)}
    if by == "command line":
        command.append(option)
    elif by == "variable":
        env["GUNICORN_CMD_ARGS"] = option
    for bind, code in (("127.0.0.1:0", 0), ("nonsense", 1)):
        env["RAINDROPS_BIND"] = bind
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=WAIT
        )
        assert done.returncode == code, done.stderr
        line = "Error: gunicorn-raindrops: RAINDROPS_BIND: 'nonsense' is not host:port, "
        assert (done.stderr.strip().startswith(line), done.stderr.count("\n")) == (
            (True, 3) if code else (False, 0)
        )


def test_a_variable_that_is_no_setting(serve):
    """It is warned of once, with the nearest that is; a HUP says it no second time."""
    with serve("--workers", "1", env={"RAINDROPS_MAX_WORKER": "7"}) as server:
        server.ready(1)
        server.renewed(lambda: server.send(signal.SIGHUP), 1)
        assert len(server.status()["scoreboard"]) == 1024
        (line,) = server.warnings()
    assert "RAINDROPS_MAX_WORKER is no setting; did you mean RAINDROPS_MAX_WORKERS?" in line


def test_the_tokens_file(serve, tmp_path):
    """The token is read when the server starts, and again at a HUP."""
    path = tmp_path / "token"
    path.write_text("first\n")
    with serve("--workers", "1", env={"RAINDROPS_TOKEN_FILE": str(path)}) as server:

        def code(token):
            return server.ask(headers={"Authorization": f"Bearer {token}"})[0]

        eventually(lambda: code("first") == 200, "the first token")
        assert server.ask()[0] == code("other") == 401
        path.write_text("second\n")
        server.send(signal.SIGHUP)
        eventually(lambda: code("second") == 200 and code("first") == 401, "the second token")
