"""The four platforms of the wheels, and what their compiler is called with.

glibc 2.17 (2013) is the oldest that today's tools still name (manylinux2014): RHEL 7 and all that
is newer. musl 1.2 is Alpine's since 3.13, which is older than any Alpine with a Python 3.10.

The Python headers are those of the Python that builds. Three things make them right for all four.
Under the limited API (Py_LIMITED_API, in objects.h and by cffi) a header's layout of objects and
its functions are promised to be alike on all versions. What differs from machine to machine is in
pyconfig.h, of which the limited API uses sizes: all four are LP64, little-endian, with a wchar_t
of four bytes, so these agree. And no header asks which libc it is; glibc's and musl's headers are
zig's own, of the target. `abi3audit` and the tests on the other Pythons and on aarch64 look at the
outcome.
"""

import sys
from typing import NamedTuple


class Target(NamedTuple):
    """One platform: zig's name of it, the machine, and the wheel's platform tag."""

    triple: str
    machine: str
    tag: str

    @property
    def musl(self) -> bool:
        """Whether its C library is musl."""
        return self.triple.endswith("musl")

    def environment(self) -> dict[str, str]:
        """Return the variables that make setuptools build for it.

        CC replaces the building Python's own compiler and optimization flags. Neither symbols for
        debugging nor paths of the building machine end up in the module.
        """
        compiler = f"{sys.executable} -m ziglang cc -target {self.triple}"
        return {
            "CC": compiler,
            "LDSHARED": f"{compiler} -shared",
            "CFLAGS": "-g0",
            "LDFLAGS": "-s",
            "_PYTHON_HOST_PLATFORM": f"linux-{self.machine}",
        }


TARGETS = [
    Target("x86_64-linux-gnu.2.17", "x86_64", "manylinux2014_x86_64.manylinux_2_17_x86_64"),
    Target("aarch64-linux-gnu.2.17", "aarch64", "manylinux2014_aarch64.manylinux_2_17_aarch64"),
    Target("x86_64-linux-musl", "x86_64", "musllinux_1_2_x86_64"),
    Target("aarch64-linux-musl", "aarch64", "musllinux_1_2_aarch64"),
]
