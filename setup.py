"""The part of the build that pyproject.toml cannot say: two cffi modules and a kind word.

A machine without a compiler is the most frequent way for this build to fail, and what
setuptools prints then does not say what to install.
"""

import sys

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

NO_COMPILER = """
gunicorn-raindrops: its counters are C and could not be compiled (see the error above).
It needs a C compiler and Python's headers:
  Debian, Ubuntu:  apt-get install gcc libc6-dev python3-dev
  Fedora, RHEL:    dnf install gcc python3-devel
  Alpine:          apk add gcc musl-dev linux-headers python3-dev
  macOS:           xcode-select --install
"""


class BuildExt(build_ext):
    """Say what to install when the compiler is missing or fails."""

    def run(self):
        try:
            super().run()
        except (CCompilerError, ExecError, PlatformError) as error:
            print(error, NO_COMPILER, sep="\n", file=sys.stderr, flush=True)
            raise


setup(
    cmdclass={"build_ext": BuildExt},
    cffi_modules=[
        "gunicorn_raindrops/_native/build.py:counters",
        *(["gunicorn_raindrops/_native/build.py:diag"] if sys.platform.startswith("linux") else []),
    ],
)
