"""The part of the build that pyproject.toml cannot say: three extension modules, two refusals, what
is not in a wheel, and the README as PyPI shows it.

A machine without a compiler is the most frequent cause for this build to fail, and what setuptools
prints then does not say what to install.
"""

import re
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CCompilerError, ExecError, PlatformError

NO_COMPILER = """
gunicorn-raindrops: its counters are C and could not be compiled (see the error above).
It needs a C compiler and Python's headers:
  Debian, Ubuntu:  apt-get install gcc libc6-dev python3-dev
  Fedora, RHEL:    dnf install gcc python3-devel
  Alpine:          apk add gcc musl-dev linux-headers python3-dev
  macOS:           xcode-select --install
"""
FREE_THREADED = (
    "gunicorn-raindrops: this Python is a free-threaded build, for which the native code is not "
    "made: it relies on the GIL to let one thread at a time change what a process holds. "
    "Use a CPython with the GIL, 3.10 or later."
)
REPOSITORY = "gunicorn-raindrops/gunicorn-raindrops"
FLAGS = ["-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unused-parameter"]
# arm64 can multiply and add in one instruction, which rounds once: durations would be a nanosecond
# off from what other machines make of them.
FLAGS.append("-ffp-contract=off")

NATIVE = Path("gunicorn_raindrops/_native")
OF_OBJECTS = ("objects", "counters", "recorder", "standin", "arguments", "attached", "steps",
              "tickets", "flights")  # fmt: skip
PLAIN = ("requests", "scoreboard", "busy", "entry", "marks", "histogram", "connections")
"""Units that are plain C. What the request path calls of these is compiled into both modules."""
OBJECTS = Extension(
    "gunicorn_raindrops._native._objects",
    sources=[str(NATIVE / f"{unit}.c") for unit in (*OF_OBJECTS, *PLAIN)],
    depends=[str(path) for path in NATIVE.glob("*.h")],
    extra_link_args=["-pthread"],  # pthread_atfork is not in libc itself before glibc 2.34
    py_limited_api=True,
)


class BuildExt(build_ext):
    """Compile all modules alike; say what to install when the compiler is missing or fails."""

    def build_extension(self, ext):
        ext.extra_compile_args = FLAGS
        super().build_extension(ext)

    def run(self):
        try:
            super().run()
        except (CCompilerError, ExecError, PlatformError) as error:
            print(error, NO_COMPILER, sep="\n", file=sys.stderr, flush=True)
            raise


class BuildPy(build_py):
    """Leave build.py out of a wheel: what it reads, C sources, is not in it either."""

    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return [entry for entry in found if entry[:2] != (OBJECTS.name.rpartition(".")[0], "build")]


def readme():
    """Return README.md with absolute links, to the files of this version: PyPI's page has neither
    our files nor the anchors of our headings."""
    version = re.search(
        r'^__version__ = "(.+)"', Path("gunicorn_raindrops/__init__.py").read_text(), re.M
    )[1]
    images = rf"\1https://raw.githubusercontent.com/{REPOSITORY}/v{version}/"
    files = rf"\1https://github.com/{REPOSITORY}/blob/v{version}/"
    text = Path("README.md").read_text()
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:)", images, text)
    text = re.sub(r"(\]\()(?=#)", rf"{files}README.md", text)
    return re.sub(r"(\]\()(?!\w+:)", files, text)


if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(FREE_THREADED)
setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    ext_modules=[OBJECTS],
    cffi_modules=[
        "gunicorn_raindrops/_native/build.py:scoreboard",
        *(["gunicorn_raindrops/_native/build.py:diag"] if sys.platform.startswith("linux") else []),
    ],
)
