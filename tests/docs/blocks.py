"""The code blocks of a Markdown page, and what each of them is for.

A block is one of these, and nothing else is accepted:

- ```console: commands after `$ `, each with its output below it. A command that ends in a backslash
  goes on in the next line.
- ```LANGUAGE title="FILE": the content of a file, which later blocks use.
- ```python: a program, together with the former ones of its page; a doctest if it has `>>> `.
- a block of any language that only includes a file of the repository (`--8<-- "FILE"`), which has
  tests of its own.
- ```text: an excerpt that is only shown; ```mermaid: a drawing.

The README's reader sees no titles, so there an HTML comment, `<!-- file: NAME -->`, stands before
such a block instead.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent.parent
_INCLUDE = re.compile(r'^--8<-- "([^"]+)"$')
_TITLE = re.compile(r'\btitle="([^"]+)"')
_COMMENT = re.compile(r"^<!-- file: (\S+) -->$")
_CODE = re.compile(r"<(pre|code)\b", re.I)
SHOWN = ("text", "mermaid")


class Unfit(Exception):
    """A block that no rule says how to run."""


@dataclass
class Command:
    """One command of a console block, and the lines that its reader sees."""

    text: str
    output: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """One code block: where it is, its `kind` (console, file, python, doctest, included, shown)."""

    line: int
    language: str
    kind: str
    text: str
    title: str | None = None

    @property
    def commands(self) -> list[Command]:
        """The commands of a console block.

        Raises:
            Unfit: output stands before the first command.
        """
        found: list[Command] = []
        for line in self.text.splitlines():
            if found and _goes_on(found[-1]):
                found[-1].text += "\n" + line
            elif line.startswith("$ "):
                found.append(Command(line[2:]))
            elif found:
                found[-1].output.append(line)
            else:
                raise Unfit(f"line {self.line}: output before the first command")
        return found


def _goes_on(command: Command) -> bool:
    return command.text.endswith("\\") and not command.output


def blocks(path: Path) -> list[Block]:
    """Return the code blocks of a page, in order.

    Raises:
        Unfit: one of them is of no known kind.
    """
    found, file = [], None
    for token in MarkdownIt().parse(path.read_text()):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "code_block":
            raise Unfit(f"{path.name}:{line}: a block without a fence; what it is cannot be told")
        if token.type == "html_block":
            if _CODE.search(token.content):
                raise Unfit(f"{path.name}:{line}: a block in HTML, which nothing runs")
            match = _COMMENT.match(token.content.strip())
            file = match[1] if match else None
        elif token.type == "fence":
            found.append(_block(path, line, token.info.strip(), token.content, file))
            file = None
    return found


def _block(path: Path, line: int, info: str, text: str, file: str | None) -> Block:
    language = info.split(" ")[0]
    title = _TITLE.search(info)
    file = title[1] if title else file
    included = _INCLUDE.match(text.strip())
    if included:
        if not (ROOT / included[1]).is_file():
            raise Unfit(f"{path.name}:{line}: includes {included[1]}, which is not there")
        return Block(line, language, "included", (ROOT / included[1]).read_text(), file)
    return Block(line, language, _kind(path, line, language, text, file), text, file)


def _kind(path: Path, line: int, language: str, text: str, file: str | None) -> str:
    if file:
        return "file"
    if language == "python":
        return "doctest" if text.startswith(">>> ") else "python"
    if language == "console":
        return "console"
    if language in SHOWN:
        return "shown"
    raise Unfit(f"{path.name}:{line}: a block of {language or 'no language'} without a title")
