"""Declare the two cffi modules (API mode, stable ABI).

They differ in one thing. cffi gives up the GIL around every call. Beside one CPU-bound thread
that costs a call some 19 µs, and the worker half of its throughput: the thread that gave the GIL
away waits a switch interval to get it back. So `_scoreboard`, whose functions never wait, is
compiled with that release turned off. `_diag`, whose functions ask the kernel for thousands of
rows, keeps it. The third module, `_objects`, takes Python objects and is no cffi module; setup.py
builds it.
"""

from pathlib import Path

from cffi import FFI

HERE = Path("gunicorn_raindrops/_native")

KEEP_THE_GIL = """
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS {
#define Py_END_ALLOW_THREADS }
"""


def declarations(name: str) -> str:
    """Return the part of a header that cffi is to read."""
    text = (HERE / name).read_text()
    return text.split("/* cffi: begin */")[1].split("/* cffi: end */")[0]


def module(
    name: str, units: list[str], inner: list[str], preamble: str = "", headers: tuple[str, ...] = ()
) -> FFI:
    """Return the builder of one extension module, made of `units` (NAME.h and NAME.c), of `inner`
    ones that Python does not see, and of `headers` that have no NAME.c."""
    ffi = FFI()
    for unit in [*headers, *units]:
        ffi.cdef(declarations(f"{unit}.h"))
    ffi.set_source(
        f"gunicorn_raindrops._native.{name}",
        preamble + "".join(f'#include "{unit}.h"\n' for unit in [*headers, *units]),
        sources=[str(HERE / f"{unit}.c") for unit in [*units, *inner]],
        depends=[str(path) for path in HERE.glob("*.h")],
        include_dirs=[str(HERE)],
    )
    return ffi


scoreboard = module(
    "_scoreboard",
    [
        "guard",
        "pages",
        "histogram",
        "scoreboard",
        "reading",
        "tally",
        "history",
        "process",
        "nowait",
        "forks",
    ],
    ["busy", "entry", "marks"],
    KEEP_THE_GIL,
    ("layout",),
)
diag = module("_diag", ["inet_diag", "netlink", "usage"], ["process"])
