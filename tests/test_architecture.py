"""Arrows only point down: a module imports what stands below it, and nothing else of ours."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gunicorn_raindrops

ROOT = Path(gunicorn_raindrops.__file__).parent

# From the top. Those on one line do not import each other.
ORDER = [
    {"__main__"},
    {"cli", "conf"},
    {"cli_listeners", "cli_status", "cli_top"},
    {"hooks"},
    {"workers"},
    {"unthreaded"},
    {"way"},
    {"__init__"},
    {"runtime"},
    {"last_data_recv", "middleware", "server", "statsd", "watcher"},
    {"asgi", "tornado_requests", "wsgi"},
    {"queue_header"},
    {"http_head", "status"},
    {"prometheus", "render"},
    {"snapshot"},
    {"user_counters"},
    {"settings"},
    {"listeners"},
    {"sock_diag", "tcp_info", "unix_names"},
    {"inet_address"},
    {"seat"},
    {"scoreboard"},
    {"board_file", "exits"},
    {"current"},
    {"histogram"},
    {"distribution"},
    {"shm"},
    {"pages"},
    {"_native"},
    {"unpatched"},
]
LEVEL = {name: -level for level, names in enumerate(ORDER) for name in names}
MODULES = sorted(path.stem for path in ROOT.glob("*.py"))

# What of the package's face a module may ask for by `from . import`, wherever it stands.
FACE = {"__version__"}


def imports(name):
    """Return the modules that a module imports: (ours, others'), wherever in it the import is."""
    tree = ast.parse((ROOT / f"{name}.py").read_text())
    ours, others = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            others.add(node.module.partition(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 1
            ours.add(node.module.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            ours |= {alias.name for alias in node.names} - FACE
    return ours, others


def test_the_order_is_total():
    """Each module has its place."""
    assert set(MODULES) <= set(LEVEL), "a new module: give it a place in ORDER"


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name):
    """A module imports only from below its own level, and its own package by relative imports."""
    ours, others = imports(name)
    assert "gunicorn_raindrops" not in others
    assert ours <= set(LEVEL)
    assert [one for one in ours if LEVEL[one] >= LEVEL[name]] == []


@pytest.mark.parametrize(
    ("foreign", "rooms"),
    [
        ("gunicorn", {"hooks"}),
        ("pyroute2", set()),
        ("prometheus_client", {"prometheus"}),
        ("cffi", set()),
    ],
)
def test_who_knows_whom(foreign, rooms):
    """What is others' is known to one room only."""
    assert {name for name in MODULES if foreign in imports(name)[1]} <= rooms


def test_render_is_pure():
    """It imports nothing that does I/O or knows the time."""
    assert imports("render")[1] <= {"__future__", "json", "math", "typing", "html", "collections"}


def test_native_imports_nothing_of_ours():
    """The bottom stands on its own."""
    source = (ROOT / "_native" / "__init__.py").read_text()
    tree = ast.parse(source)
    assert not any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(tree))


def loaded(code):
    code += "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
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
