"""Compare what a command printed with what a page says that it prints.

Every number but 0 stands for every other, with its unit if it has one. The requests that run
(`calling: 2`) and a status of HTTP alone in its line are compared as they are: a full server has
just so many, and 200 is not 401. `...` stands for anything in a line, and alone in its line for any
number of lines; spaces are one. So a page shows real output, and a figure that should not be 0 is
not.
"""

import re

_NUMBER = re.compile(
    r"(?<!\w)(?<!\d\.)(\d+(?:\.\d+)?)(ms|us|µs|ns|s|m|h|d|%|[KMG](?:iB)?|kB|k)?(?![\w])"
)
_EXACT = re.compile(r"calling: \d+|[1-5]\d\d")
ANYTHING = "..."


def normal(line: str) -> str:
    """Return a line without what may differ."""
    if _EXACT.fullmatch(line.strip()):
        return line.strip()
    return " ".join(_NUMBER.sub(_number, line).split())


def _number(match: re.Match[str]) -> str:
    return "0" if match[1] == "0" and not match[2] else "#"


def agrees(wanted: list[str], got: str) -> bool:
    """Tell whether output is as a page has it; without any wanted lines, it always is."""
    lines = [normal(line) for line in wanted]
    while lines and not lines[-1]:
        lines.pop()
    text = "".join(f"{normal(line)}\n" for line in got.rstrip().splitlines())
    return not lines or re.fullmatch("".join(map(_pattern, lines)), text) is not None


def says_something(wanted: list[str]) -> bool:
    """Tell whether a page has more of an output than that there may be one."""
    return any(line.strip() not in ("", ANYTHING) for line in wanted)


def _pattern(line: str) -> str:
    """Return what matches a line; `...` alone matches any number of lines."""
    if line == ANYTHING:
        return r"(?:.*\n)*"
    return ".*".join(map(re.escape, line.split(ANYTHING))) + r"\n"


def has(wanted: list[str], log: str) -> bool:
    """Tell whether a log has these lines, in this order, whatever else stands there."""
    rest = [normal(line) for line in log.splitlines()]
    for line in wanted:
        pattern = re.compile(_pattern(normal(line)))
        while rest and not pattern.search(f"{rest[0]}\n"):
            rest.pop(0)
        if normal(line) and not rest:
            return False
    return True
