"""Lines from frames: which are the application's own, how they are shown, and what never is."""

import os
import random
import sys
import sysconfig
import threading
from pathlib import Path
from types import CodeType

import pytest

import gunicorn_raindrops
from gunicorn_raindrops.looking import frames

STDLIB = sysconfig.get_path("stdlib")
WORKERS = str(Path(gunicorn_raindrops.__file__).parent / "worker_classes/threads.py")
OWN = ("/srv/app/views.py", 7, "view")
LIBRARY = ("/venv/lib/python3.11/site-packages/x/y.py", 3, "get")
SERVER = (WORKERS, 98, "counted")


def here():
    return sys._getframe()


def test_a_stack():
    """From the outermost line to the innermost."""

    def inner():
        return frames.stack_of(here())

    lines = inner()
    assert [name for _, _, name in lines[-3:]] == ["test_a_stack", "inner", "here"]
    assert lines[-1] == (__file__, here.__code__.co_firstlineno + 1, "here")


OURS = Path(gunicorn_raindrops.__file__).parent


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("/srv/app/views.py", True),
        ("views.py", True),
        ("<string>", True),
        ("/srv/templates/page.html", True),
        ("/srv/my-site-packages/x.py", True),
        ("<frozen importlib._bootstrap>", False),
        (f"{STDLIB}/threading.py", False),
        (os.path.realpath(STDLIB) + "/asyncio/tasks.py", False),
        ("/usr/lib/python3/dist-packages/django/core.py", False),
        ("/srv/app/.venv/lib/python3.12/site-packages/flask/app.py", False),
        (f"{sysconfig.get_path('scripts')}/gunicorn", False),
        (gunicorn_raindrops.__file__, False),
    ],
)
def test_whose_a_file_is(file, own):
    """The application's is what is outside the folders of the interpreter and of packages."""
    assert frames.is_own(file) is own


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        ([OWN], "/srv/app/views.py:7 in view"),
        ([OWN, LIBRARY], "/srv/app/views.py:7 in view"),
        ([OWN, ("/srv/app/b.py", 1, "f"), LIBRARY], "/srv/app/b.py:1 in f"),
        ([LIBRARY], f"{LIBRARY[0]}:3 in get"),
        ([("/srv/serve.py", 1, "<module>"), SERVER, LIBRARY], f"{LIBRARY[0]}:3 in get"),
        ([OWN, SERVER], f"{SERVER[0]}:98 in counted"),
        *(
            ([SERVER, OWN, (f"{OURS}/{file}", 9, function), LIBRARY], "/srv/app/views.py:7 in view")
            for file, function in [
                ("counting/asgi.py", "send"),
                ("counting/asgi.py", "receive"),
                ("counting/wsgi.py", "start_response"),
                ("counting/wsgi.py", "_write"),
                ("status/gate.py", "_close"),
            ]
        ),
    ],
)
def test_where(lines, expected):
    """The innermost own line within the request; without one, the innermost of all."""
    if expected is not None and len(expected.encode()) > frames.ROOM:
        expected = frames.CUT + expected[-(frames.ROOM - 3) :]
    if lines == [OWN, SERVER]:
        expected = "/srv/app/views.py:7 in view"  # nothing is further in than the server
    assert frames.where(lines) == expected


@pytest.mark.parametrize("file", ["/x" * 400, "/\u00e9" * 400, "/\U0001f600" * 400])
@pytest.mark.parametrize("function", ["f", "g" * 4000, "\u00e9" * 400])
@pytest.mark.parametrize("note", ["", " (blocks the event loop)"])
def test_bounds(file, function, note):
    """However long they are, with the end of the path, the line and the note."""
    found = frames.describe((file, 12345, function), note)
    assert len(found.encode()) <= frames.ROOM
    assert found.endswith(note)
    if function == "f":
        assert ":12345 in f" in found
        assert found.startswith(frames.CUT)


@pytest.mark.parametrize("odd", ["a\nb", "a\x1b[31mb", "a\x00b", "\udc80", "\u202eab", "\x7f"])
def test_odd_names(odd):
    """Nothing that is not printed is shown as it is."""
    for shown in (frames.describe((odd, 1, odd)), *frames.show([(odd, 1, odd)])):
        assert shown.isprintable()
        shown.encode()


def test_a_name_in_bytes():
    """What is not UTF-8 in a path is shown as everywhere else, byte by byte."""
    assert frames.describe(("/caf\udce9.py", 1, "f")) == r"/caf\xe9.py:1 in f"


def test_a_long_stack():
    """The innermost lines, what is above them as a number, and lines that repeat once."""
    lines = [("/a.py", i, "f") for i in range(frames.MOST_LINES + 5)]
    shown = frames.show(lines)
    assert shown[0] == "  ... 5 more"
    assert len(shown) == frames.MOST_LINES + 1
    assert frames.show([OWN, *[LIBRARY] * 4, OWN])[1:3] == [
        f'  File "{LIBRARY[0]}", line 3, in get',
        "  [the line above 3 more times]",
    ]


def test_recursion():
    """A stack deeper than anybody reads is walked up to a bound."""

    def down(n):
        return frames.stack_of(sys._getframe()) if n == 0 else down(n - 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        lines = down(5_000)
    finally:
        sys.setrecursionlimit(limit)
    assert len(lines) == frames.MOST_FRAMES
    assert len("\n".join(frames.show(lines))) < 1000


SECRET = "planted-secret"


def frames_of(seed):
    """Yield frames of code that is compiled anew, with secrets wherever values are."""
    rng = random.Random(seed)
    for i in range(rng.randrange(1, 6)):
        name, file = rng.choice(["f", "\u00e9", "l" * 300]), rng.choice(["<string>", "/gone/x.py"])
        source = f"def {name}(a, *b, c='{SECRET}', **d):\n  e = a + c\n  " + rng.choice(
            [
                "return keep(e)",
                f"return (lambda g: keep(g))('{SECRET}')",
                "return [keep(h) for h in [e]][0]",
                f"'{SECRET * rng.choice([1, 3, 10_000])}'; return keep(e)",
                f"try: raise ValueError('{SECRET}')\n  except ValueError as x: return keep(x)",
                "yield keep(e)",
            ]
        )
        space = {"keep": lambda value: sys._getframe()}
        exec(compile(source, file, "exec"), space)
        result = space[name](f"{SECRET}{i}", SECRET, c=SECRET, d=SECRET)
        yield result if hasattr(result, "f_code") else next(result)


def test_no_value_is_ever_shown():
    """Of 10,000 frames that hold secrets in arguments, locals, literals and exceptions."""
    seen = seed = 0
    while seen < 10_000:
        for frame in frames_of(seed):
            lines = frames.stack_of(frame)
            shown = "\n".join([frames.where(lines) or "", *frames.show(lines)])
            assert SECRET not in shown
            seen += len(lines)
        seed += 1


def test_frames_that_come_and_go():
    """Threads that call, return and raise while they are looked at."""
    over = threading.Event()

    def busy(n=0):
        while not over.is_set():
            if n < 50:
                busy(n + 1)
                return
            [list(map(str, (i for i in range(20)))) for _ in range(5)]
            return

    def loop():
        while not over.is_set():
            busy()

    threads = [threading.Thread(target=loop) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(500):
            for frame in sys._current_frames().values():
                lines = frames.stack_of(frame)
                assert frames.where(lines)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_name_of_another_kind():
    """A file's name may be a subclass of str."""

    class Name(str):
        __slots__ = ()

    code = (lambda: sys._getframe()).__code__.replace(co_filename=Name("/x\n.py"))
    assert isinstance(code, CodeType)
    frame = type(here)(code, {"sys": sys})()
    assert "\\n" in frames.where(frames.stack_of(frame))
