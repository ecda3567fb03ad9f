"""Arrows only point down: a module imports what stands below it, and nothing else of ours."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gunicorn_raindrops

from .bounds import WAIT

pytestmark = pytest.mark.once

ROOT = Path(gunicorn_raindrops.__file__).parent

# From the top. Rooms on one line do not import each other.
ROOMS = [
    {"__main__", "conf"},
    {"cli", "hooks"},
    {"__init__"},
    {"wrapping"},
    {"worker_classes", "middleware", "last_data_recv", "watcher", "arbiter_side"},
    {"handover", "worker_side"},
    {"looking"},
    {"counting"},
    {"status"},
    {"exporters"},
    {"sampler"},
    {"reported", "waiting"},
    {"snapshot"},
    {"processes", "scoreboard", "settings"},
    {"listeners"},
    {"after_fork", "environment", "histogram", "shm"},
    {"raindrops"},
    {"distribution", "mapping", "sharing", "unpatched"},
    {"_native"},
]
LEVEL = {room: -level for level, rooms in enumerate(ROOMS) for room in rooms}

# The same inside of each folder.
FOLDERS = {
    "cli": [
        {"__init__"},
        {"listeners", "status", "top", "watch"},
        {"which"},
        {"client", "find", "report", "serving"},
        {"server"},
        {"arguments", "listening", "namespace", "terminal"},
        {"proc"},
    ],
    "cli/top": [
        {"__init__"},
        {"live"},
        {"reader", "view"},
        {"panels", "screen", "source"},
        {"model"},
        {"rates"},
        {"cells", "keys", "sample"},
    ],
    "hooks": [
        {"__init__"},
        {"arbiter", "worker"},
        {"cfg", "replaced", "state"},
    ],
    "worker_classes": [
        {"__init__", "tornado", "pywsgi"},
        {"threads", "greenlets", "asgi"},
        {"base", "ending"},
    ],
    "watcher": [{"__init__"}, {"answers", "tail"}, {"pages"}, {"sampling"}, {"aggregate"}],
    "looking": [
        {"watched", "stacks"},
        {"looker", "tasks", "calls", "greenlets"},
        {"threads", "pools", "chains", "families"},
        {"flight"},
        {"frames", "__init__"},
    ],
    "counting": [
        {"attached", "connection", "slots", "wsgi", "websocket", "queue_header"},
        {"asgi"},
        {"request"},
        {"outcome", "__init__"},
    ],
    "status": [
        {"address", "thread", "expose", "history"},
        {"http", "listener"},
        {"app"},
        {"access", "answers", "boundary", "gate", "page", "__init__"},
    ],
    "exporters": [
        {"json", "text", "prometheus", "statsd"},
        {"families"},
        {"figures", "printable", "__init__"},
    ],
    "scoreboard": [
        {"app_counters", "claims"},
        {"board"},
        {"memory"},
        {"reader", "reap"},
        {"exits", "history", "tally"},
        {"liveness"},
        {"decode"},
        {"records", "layout", "lock", "__init__"},
    ],
    "listeners": [{"__init__"}, {"unix", "tcp_info", "sock_diag", "queries"}, {"addresses"}],
}

# What of the package's face a room may ask for by `from . import`, wherever it stands.
FACE = {"__version__"}

FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py") if "_native" not in path.parts)


def room_of(path):
    """Return the room that a file is, or is in."""
    return path.parts[0].removesuffix(".py")


def imports(path):
    """Return what a file imports, wherever in it the import is: ours, as paths of names from the
    package's root, and the others' top-level names."""
    tree = ast.parse((ROOT / path).read_text())
    ours, others = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            others.add(node.module.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            here = path.parent.parts[: len(path.parent.parts) - node.level + 1]
            names = {alias.name for alias in node.names} - FACE
            module = tuple((node.module or "").split(".")) if node.module else ()
            ours |= {(*here, *module, name) for name in names}
    return ours, others


def test_every_room_has_its_level():
    """A new room is given one, and a level names no room that is not there."""
    assert {room_of(path) for path in FILES} | {"_native"} == set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_down(path):
    """A file imports from rooms below its own, and its own package by relative imports."""
    ours, others = imports(path)
    assert "gunicorn_raindrops" not in others
    own = room_of(path)
    rooms = {names[0] for names in ours} - {own}
    assert [room for room in rooms if LEVEL.get(room, 0) >= LEVEL[own]] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_down_inside_a_folder(folder):
    """Each of its files has a level, and imports from those below."""
    level = {name: -i for i, names in enumerate(FOLDERS[folder]) for name in names}
    parts = tuple(folder.split("/"))
    depth = len(parts)
    files = [path for path in FILES if path.parts[:depth] == parts]
    assert {path.parts[depth].removesuffix(".py") for path in files} == set(level)
    for path in files:
        own = path.parts[depth].removesuffix(".py")
        inside = [names[depth:] for names in imports(path)[0] if names[:depth] == parts]
        used = {names[0] if names[0] in level else "__init__" for names in inside} - {own}
        assert [other for other in used if level[other] >= level[own]] == [], path


def test_every_folder_has_its_order():
    """None is left out."""
    assert {"/".join(path.parts[:-1]) for path in FILES if len(path.parts) > 1} == set(FOLDERS)


@pytest.mark.parametrize(
    ("foreign", "rooms"),
    [
        ("gunicorn", {"conf.py", "hooks/__init__.py", "hooks/cfg.py", "hooks/worker.py"}),
        ("pyroute2", {"listeners/queries.py"}),
        ("prometheus_client", {"exporters/prometheus.py"}),
        ("rich", {"cli/top/__init__.py", "cli/top/panels.py", "cli/top/view.py"}),
        ("cffi", set()),
    ],
)
def test_who_knows_whom(foreign, rooms):
    """What is others' is known to few rooms."""
    assert {str(path) for path in FILES if foreign in imports(path)[1]} <= rooms


# Attributes of gunicorn's arbiter, workers, requests and responses.
GUNICORNS = {
    "LISTENERS", "WORKERS", "aborted", "alive", "asgi", "booted", "cfg", "env_orig",
    "forwarded_allow_ips", "handle_abort", "handle_exit", "headers_sent", "master_pid",
    "max_requests", "num_workers", "peer_addr", "pidfile", "ppid", "reexec_pid", "req_number",
    "reuse_port", "statsd_host", "unreader", "worker_connections", "wsgi",
}  # fmt: skip


def test_who_knows_gunicorns_objects():
    """The hooks, and what is in worker_classes; after_fork asks a worker how many there are.
    Everywhere else a worker is a key."""
    knowing = set()
    for path in FILES:
        tree = ast.parse((ROOT / path).read_text())
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if names & GUNICORNS:
            knowing.add(room_of(path))
    assert knowing == {"after_fork", "hooks", "worker_classes"}


@pytest.mark.parametrize("name", ["families", "figures", "json", "printable", "text"])
def test_the_formats_are_pure(name):
    """They import nothing that does I/O or knows the time."""
    pure = {"__future__", "collections", "dataclasses", "functools", "json", "operator", "typing"}
    ours, others = imports(Path(f"exporters/{name}.py"))
    assert others <= pure
    assert {names[0] for names in ours} <= {"distribution", "exporters", "scoreboard", "snapshot"}


def test_native_imports_nothing_of_ours():
    """The bottom stands on its own."""
    source = (ROOT / "_native" / "__init__.py").read_text()
    tree = ast.parse(source)
    assert not any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(tree))


def test_who_knows_python_in_c():
    """The units of the extension module `_objects`, by objects.h; all other C is plain."""
    native = ROOT / "_native"
    headers = {path.name for path in native.glob("*.h") if "<Python.h>" in path.read_text()}
    assert headers == {"objects.h"}
    generated = {"_scoreboard.c", "_diag.c"}
    for path in native.glob("*.c"):
        assert "<Python.h>" not in path.read_text() or path.name in generated


def test_no_object_is_passed_as_a_number():
    """Native code gets addresses of memory as numbers, never those of Python objects. To `looking`
    they are names, and it has no native code."""
    calls = [
        (str(path), node.lineno)
        for path in FILES
        if path.parent.name != "looking"
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "id"
    ]
    assert calls == []


def loaded(code):
    code += "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT)
    return set(done.stdout.split())


def test_what_is_imported_when():
    """The counters bring neither gunicorn nor pyroute2 along; the hooks bring gunicorn, when they
    are asked for, and pyroute2 not before a listener is looked at."""
    names = loaded("import gunicorn_raindrops; gunicorn_raindrops.Raindrops(1)")
    assert not names & {"gunicorn", "pyroute2", "prometheus_client"}
    names = loaded("import gunicorn_raindrops; gunicorn_raindrops.hooks.install({})")
    assert "gunicorn" in names
    assert not names & {"pyroute2", "prometheus_client"}


def test_the_face():
    """`__all__` is sorted, complete, and each of its names is there."""
    assert sorted(gunicorn_raindrops.__all__) == gunicorn_raindrops.__all__
    for name in gunicorn_raindrops.__all__:
        assert hasattr(gunicorn_raindrops, name)
    with pytest.raises(AttributeError, match="nothing_such"):
        gunicorn_raindrops.nothing_such  # noqa: B018
