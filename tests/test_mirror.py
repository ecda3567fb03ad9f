"""The tests mirror the package: where a room's tests are is known from the room's name."""

import ast
from pathlib import Path

import pytest

from .test_architecture import FILES, ROOT

pytestmark = pytest.mark.once

TESTS = Path(__file__).parent

# Rooms whose tests stand under another's name, and why.
ELSEWHERE = {
    "__init__.py": ("test_architecture.py", "it defers its imports, which is what is tested there"),
    "cli/__init__.py": ("cli/test_listeners.py", "the command is run as its users run it"),
    "cli/arguments.py": ("cli/test_listeners.py", "the command's usage errors"),
    "cli/proc.py": ("cli/test_find.py", "who is found by it"),
    "cli/serving.py": ("cli/test_watch.py", "the command is run as its users run it"),
    "cli/server.py": ("integration/test_status_command.py", "real servers are what it reads"),
    "cli/top/panels.py": ("cli/top/test_view.py", "the screen is what its parts are seen on"),
    "cli/top/rates.py": ("cli/top/test_model.py", "where two samples meet"),
    "cli/top/source.py": ("integration/test_top_command.py", "real servers are what it reads"),
    "cli/which.py": ("cli/test_status.py", "the commands are run as their users run them"),
    "conf.py": ("integration/test_shipped_config.py", "gunicorn is what reads it"),
    "counting/attached.py": ("test_worker_side.py", "a worker is what attaches itself to a slot"),
    "counting/request.py": ("native/test_steps.py", "its steps are the native module's"),
    "counting/slots.py": ("test_middleware.py", "where no arbiter gives a slot, a middleware does"),
    "counting/websocket.py": ("test_middleware.py", "as a WSGI call"),
    "counting/wsgi.py": ("test_middleware.py", "what is around a WSGI call is the middleware"),
    "distribution.py": ("test_histogram.py", "a distribution is what a histogram reads"),
    "exporters/families.py": (
        "exporters/test_prometheus.py",
        "the table is seen as it is rendered",
    ),
    "exporters/figures.py": ("exporters/test_prometheus.py", "as the table"),
    "exporters/text.py": ("exporters/test_json.py", "both formats of one snapshot, side by side"),
    "listeners/sock_diag.py": ("listeners/test_listeners.py", "its tables are what is read there"),
    "looking/families.py": ("looking/test_tasks.py", "tasks are what has a family"),
    "looking/flight.py": ("looking/test_looker.py", "requests as they are looked at"),
    "looking/pools.py": ("looking/test_tasks.py", "a coroutine is what waits for a pool"),
    "looking/threads.py": ("looking/test_looker.py", "requests with a thread each"),
    "scoreboard/layout.py": ("scoreboard/test_memory.py", "damaged files, foreign ones, old ones"),
    "status/address.py": ("test_arbiter_side.py", "an arbiter's side is what opens and moves it"),
    "status/answers.py": ("status/test_app.py", "answers are what the application gives"),
    "watcher/answers.py": ("watcher/test_watcher.py", "answers are what the application gives"),
    "watcher/pages.py": ("watcher/test_watcher.py", "as the answers"),
    "watcher/tail.py": ("watcher/test_watcher.py", "as the answers"),
    "worker_classes/asgi.py": ("worker_classes/test_worker_classes.py", "one test for all classes"),
    "worker_classes/threads.py": ("worker_classes/test_worker_classes.py", "one for all classes"),
    "reported.py": ("test_sampler.py", "a snapshot is where they are seen"),
    "wrapping.py": ("hooks/test_wrapping.py", "hooks are what it wraps"),
}


def mirror(path):
    """Return where a room's own tests belong; those of a folder's `__init__` bear its name."""
    name = path.parent.name if path.stem == "__init__" and path.parent.name else path.stem
    return path.parent / f"test_{name}.py"


def has_logic(path):
    """Tell whether a room defines a function: plain data is tested where it is used."""
    tree = ast.parse((ROOT / path).read_text())
    return any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) for node in ast.walk(tree))


def test_every_room_with_logic_has_its_tests():
    """In a file of the same name at the same place, but for those above."""
    missing = {
        str(path) for path in FILES if has_logic(path) if not (TESTS / mirror(path)).exists()
    }
    assert missing == set(ELSEWHERE)
    assert [file for file, _ in ELSEWHERE.values() if not (TESTS / file).exists()] == []


def test_every_folder_is_a_rooms():
    """Folders of tests are the package's, and those of tests that belong to no room."""
    folders = {path.parent.name for path in TESTS.glob("*/*.py")}
    no_rooms = {"integration", "fuzz", "typing", "native", "docs", "deploy", "release"}
    assert folders - no_rooms == {path.parts[0] for path in FILES if len(path.parts) > 1}
