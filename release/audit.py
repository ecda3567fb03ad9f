"""Look into built wheels: `python release/audit.py WHEEL...` prints what is wrong with them.

What a wheel's name promises is compared with what its modules ask of the machine. auditwheel does
so for glibc, and `make release-check` runs it too; for musl it takes this machine's libc.so for
the wheel's. And a wheel holds what runs, no more and no less.
"""

import email
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePath

import ziglang
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from targets import TARGETS, Target
from wheels import tracked

GLIBC = (2, 17)
LIBRARIES = {
    False: {"libc.so.6", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"},
    True: {"libc.so"},  # musl's loader knows it by that name, wherever its file is
}
MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}
MODULES = [f"gunicorn_raindrops/_native/{name}.abi3.so" for name in ("_diag", "_objects",
           "_scoreboard")]  # fmt: skip
MUSL = Path(ziglang.__file__).parent / "lib/libc/musl/libc.S"
"""Every function of musl's, as zig knows them."""


def expected() -> set[str]:
    """Return the files that a wheel is to hold, beside its .dist-info."""
    ours = {name for name in tracked() if name.startswith("gunicorn_raindrops/")}
    built = {"gunicorn_raindrops/_native/build.py"}
    return {name for name in ours - built if PurePath(name).suffix not in (".c", ".h")} | {*MODULES}


def target_of(wheel: Path) -> Target:
    """Return the platform that the wheel's name promises."""
    (target,) = [target for target in TARGETS if wheel.stem.endswith(f"-{target.tag}")]
    return target


def undefined(elf: ELFFile) -> Iterator[tuple[str, bool]]:
    """Give each symbol that is not Python's and that another library must have; is it versioned?"""
    symbols, versions = elf.get_section_by_name(".dynsym"), elf.get_section_by_name(".gnu.version")
    for index, symbol in enumerate(symbols.iter_symbols()):
        wanted = symbol["st_shndx"] == "SHN_UNDEF" and symbol["st_info"]["bind"] == "STB_GLOBAL"
        if wanted and not re.match("_?Py", symbol.name):
            number = versions.get_symbol(index)["ndx"] if versions else 0
            yield symbol.name, number not in ("VER_NDX_LOCAL", "VER_NDX_GLOBAL", 0)


def newer_than_glibc(elf: ELFFile) -> Iterator[str]:
    """Give what this module asks of glibc that 2.17 has not.

    A function that 2.17 has not at all is linked without a version, since a module may leave
    symbols open: Python's are.
    """
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            names = [aux.name for _, auxes in section.iter_versions() for aux in auxes]
            for name in names:
                if tuple(map(int, name.removeprefix("GLIBC_").split("."))) > GLIBC:
                    yield f"needs {name}"
    yield from (f"{name}: not in glibc 2.17" for name, known in undefined(elf) if not known)


def not_in_musl(elf: ELFFile) -> Iterator[str]:
    """Give the functions that musl has not."""
    there = set(re.findall(r"^(\w+):$", MUSL.read_text(), re.M))
    yield from (f"{name}: not in musl" for name, _ in undefined(elf) if name not in there)


def wrong_with_module(elf: ELFFile, target: Target) -> Iterator[str]:
    """Give what does not suit the platform in one module."""
    if elf["e_machine"] != MACHINES[target.machine]:
        yield f"is for {elf['e_machine']}"
    (dynamic,) = [part for part in elf.iter_sections() if isinstance(part, DynamicSection)]
    for tag in dynamic.iter_tags():
        if tag.entry.d_tag == "DT_NEEDED" and tag.needed not in LIBRARIES[target.musl]:
            yield f"needs {tag.needed}"
        if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
            yield f"looks for libraries at {tag}"
    yield from not_in_musl(elf) if target.musl else newer_than_glibc(elf)


def wrong_with_page(metadata: str) -> Iterator[str]:
    """Give the links of the description that PyPI's page would break."""
    text = email.message_from_string(metadata).get_payload()
    for link in re.findall(r"\]\(([^)\s]+)", text):
        if not link.startswith("https://"):
            yield f"a link that PyPI's page breaks: {link}"


def wrong_with(wheel: Path) -> Iterator[str]:
    """Give all that is wrong with a wheel."""
    target = target_of(wheel)
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        yield from (f"{name}: has no place in a wheel" for name in sorted(names - expected()))
        yield from (f"{name}: is missing" for name in sorted(expected() - names))
        yield from wrong_with_page(archive.read(metadata).decode())
        for name in sorted(names & {*MODULES}):
            with archive.open(name) as file:
                yield from (f"{name}: {text}" for text in wrong_with_module(ELFFile(file), target))


def main() -> int:
    """Print what is wrong; returns 1 if anything is."""
    found = [f"{name}: {text}" for name in sys.argv[1:] for text in wrong_with(Path(name))]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
