"""The whole screen: its parts, each with as many lines as the screen's height has for it. Pure."""

from __future__ import annotations

import io

from rich.console import COLOR_SYSTEMS, Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from . import panels
from .cells import Cells
from .model import Model

_HELP = """\
s, S          sort by the next, the previous of: age of request, state, requests/s, CPU,
              memory, slot
/, f          type a filter: state, pid, slot, method, path or place; Enter keeps it, Esc ends it
p, space      pause, go on
up, down      scroll; also j, k, PgUp, PgDn, Home, End
h, ?          this
q, Ctrl-C     quit

calling: requests inside the application. writing: their responses are being sent.
reading: connections that hold a thread without a request in the application.
waiting: accepted by the server, but not taken up. queued: not yet accepted.
saturation: all of these over what the workers can run at once.
scoreboard: . free  S starting  _ idle  R reading  C calling  W writing  G finishing"""

_KEYS = "q quit  s sort  / filter  p pause  h help"


def lines(model: Model, name: str, cells: Cells, width: int, height: int) -> list[Text]:
    """Return as many lines as the screen has.

    Args:
        model: what is shown.
        name: of the server.
        cells: for the letters of this terminal.
        width, height: of the screen.
    """
    found = [panels.title(model, name, cells, width)]
    if model.is_help:
        found += [Text(cells.cut(line, width)) for line in ("", *_HELP.splitlines())]
    else:
        found += _body(model, cells, width, height - 2)
    found = found[: max(1, height - 1)]
    found += [Text()] * (height - 1 - len(found))
    return [*found, _footer(model, cells, width)][-height:]


def _body(model: Model, cells: Cells, width: int, height: int) -> list[Text]:
    found = panels.totals(model, cells, width)
    sample = model.shown
    if sample is None:
        return found
    space = [Text()] if height > 18 else []
    found += space + panels.scoreboard(sample, cells, width, max(1, height // 8))
    found += space + panels.listeners(sample, cells, width, height // 5)
    found += panels.exits(sample, cells, width, height // 6)
    return [*found, *space, *panels.workers(model, cells, width, height - len(found) - len(space))]


def _footer(model: Model, cells: Cells, width: int) -> Text:
    """Return the last line: what is being typed, what is wrong, or what can be done."""
    if model.is_typing:
        return Text(cells.left(f"filter: {model.filter}_", width), "reverse")
    if model.problem:
        return Text(cells.left(model.problem, width), "bold red reverse")
    all_of = len(model.shown.workers) if model.shown else 0
    words = [_KEYS, f"by {model.order}", f"{all_of} worker{'s' * (all_of != 1)}"]
    if model.filter:
        words[-1] = f"{len(model.matching())} of {words[-1]} with {model.filter!r}"
    return Text(
        cells.left(" | ".join([*words, *[model.note] * bool(model.note)]), width), "reverse"
    )


class Painter:
    """Turns lines into what a terminal is sent; colours are those that it has (NO_COLOR, TERM)."""

    def __init__(self) -> None:
        self._console = Console(
            file=io.StringIO(), force_terminal=True, highlight=False, markup=False, emoji=False
        )
        name = self._console.color_system
        self._colors = COLOR_SYSTEMS[name] if name else None

    def paint(self, line: Text, width: int) -> str:
        """Return a line, filled with blanks to its width."""
        line = line.copy()
        line.truncate(width, overflow="crop", pad=True)
        # Console.print would do the same in three times the time
        segments = line.render(self._console)
        if self._console.no_color:
            segments = Segment.remove_color(segments)
        return "".join(self._styled(*segment[:2]) for segment in segments)

    def _styled(self, text: str, style: Style | None) -> str:
        return text if style is None else style.render(text, color_system=self._colors)
