"""The parts of the screen: each is some lines, no wider than it, for what a model shows. Pure.

Lines are `Text`, never markup: "[red]" in a path is seven letters of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from ..report import size
from .cells import Cells, clock, count, percent, rate, seconds
from .model import FIGURES, Model
from .sample import Listener, Request, Sample

STATES = {
    "calling": "green",
    "writing": "cyan",
    "reading": "yellow",
    "starting": "blue",
    "finishing": "magenta",
    "idle": "dim",
}
LETTERS = {"C": "green", "W": "cyan", "R": "yellow", "S": "blue", "G": "magenta", "_": "dim"}
_HEAD = "bold underline"
_ALARM = "bold red"
_FULL = 0.8  # of a queue's limit, or of the capacity: what is worth a colour

_NAME, _VALUE = 10, 7
_TOTAL = 38  # columns that a total should have
_LISTENER = 46  # columns that a listener's figures have, beside its address
_COLUMNS = (("pid", 7), ("state", -9), ("since", 6), ("req/s", 6), ("cpu", 5), ("rss", 6))
_KILLED = 3  # that are shown


def title(model: Model, name: str, cells: Cells, width: int) -> Text:
    """Return the line that says which server this is, and when."""
    words, right = ["gunicorn-raindrops top", name], ""
    if sample := model.shown:
        words += [sample.server] * bool(sample.server)
        since = "paused at " if model.is_paused else ""
        right = f"  up {seconds(sample.uptime)}  {since}{clock(sample.time)}"
    return Text(cells.left("  ".join(words), width - len(right)) + right, "reverse")


def totals(model: Model, cells: Cells, width: int) -> list[Text]:
    """Return the figures of the whole server, each with what it was."""
    beside = next((one for one in (8, 4, 2) if one * _TOTAL <= width), 1)
    each = width // beside
    lines = []
    for at in range(0, len(FIGURES), beside):
        line = Text()
        for name in FIGURES[at : at + beside]:
            line.append_text(_total(model, name, cells, each))
        lines.append(line)
    return lines


def _total(model: Model, name: str, cells: Cells, width: int) -> Text:
    value = model.shown.figures[name] if model.shown else None
    shown = {"saturation": percent, "requests/s": rate}.get(name, count)(value)
    if name == "workers" and model.shown and model.shown.wanted is not None:
        shown += f"/{count(model.shown.wanted)}"
    line = Text(cells.left(name, _NAME))
    line.append(f" {cells.right(shown, _VALUE)} ", _total_style(name, value))
    line.append(cells.spark(model.history[name], width - _NAME - _VALUE - 4), "cyan")
    line.append("  ")
    return line


def _total_style(name: str, value: float | None) -> str:
    if name == "saturation" and value is not None and value >= 1:
        return _ALARM
    return "bold yellow" if name in ("waiting", "queued") and value else "bold"


def scoreboard(sample: Sample, cells: Cells, width: int, height: int) -> list[Text]:
    """Return the letters of the slots, up to the last one that is taken."""
    letters = cells.cut(sample.scoreboard.rstrip("."), width * height)
    lines = []
    for at in range(0, len(letters), width) if width > 0 else ():
        line = Text(letters[at : at + width])
        for letter, style in LETTERS.items():
            line.highlight_words([letter], style)
        lines.append(line)
    return lines


def listeners(sample: Sample, cells: Cells, width: int, height: int) -> list[Text]:
    """Return the listeners with their queues; the fullest come first."""
    rows = sorted(sample.listeners, key=_fullness, reverse=True)
    if not rows or height < 2:
        return []
    shown = rows if len(rows) < height else rows[: max(1, height - 2)]
    name = max(1, min(max(len(one.address) for one in shown), width - _LISTENER - 12))
    name = max(name, len("listener"))
    head = f"{cells.left('listener', name)} {'queued/limit':>13} {'active':>7} {'waiting':>8}"
    lines = [Text(cells.left(f"{head} {'dropped':>9}", width), _HEAD)]
    lines += [_listener(one, cells, name, width) for one in shown]
    if len(shown) < len(rows) and len(lines) < height:
        lines.append(Text(f"and {len(rows) - len(shown)} more listeners", "dim"))
    return lines


def _fullness(one: Listener) -> float:
    return (one.queued or 0) / one.backlog if one.backlog else 0.0


def _listener(one: Listener, cells: Cells, name: int, width: int) -> Text:
    queue = f"{count(one.queued)}/{count(one.backlog)}"
    line = Text(cells.left(one.address, name))
    is_full = _fullness(one) >= _FULL
    line.append(f" {cells.right(queue, 13)}", _ALARM if is_full else "")
    line.append(f" {cells.right(count(one.active), 7)} {cells.right(count(one.waiting), 8)}")
    line.append(f" {cells.right(count(one.dropped), 9)}", _ALARM if one.dropped else "")
    bar = min(40, width - len(line.plain) - 2)
    if bar > 4:
        line.append(f"  {cells.gauge(one.queued, one.backlog, bar)}", "red" if is_full else "cyan")
    return line


def exits(sample: Sample, cells: Cells, width: int, height: int) -> list[Text]:
    """Return how workers have ended, and the last of those that were killed."""
    counts = [f"{cause} {count(number)}" for cause, number in sample.exits.items() if number]
    if not counts or height < 1:
        return []
    lines = [Text(cells.cut(f"exits: {', '.join(counts)}", width))]
    for kill in sample.killed[: min(_KILLED, height - 1)]:
        was = _request(kill.current) if kill.current else "idle"
        text = f"  {clock(kill.time)} worker {kill.pid} {kill.cause}: {was}"
        lines.append(Text(cells.cut(text, width), "yellow"))
    return lines


def _request(current: Request) -> str:
    line = f"{current.method} {current.path} after {seconds(current.seconds)}"
    return f"{line}, {current.where}" if current.where else line


def workers(model: Model, cells: Cells, width: int, height: int) -> Iterator[Text]:
    """Yield the table of the workers."""
    heads = [head.ljust(-wide) if wide < 0 else head.rjust(wide) for head, wide in _COLUMNS]
    yield Text(cells.left(" ".join(["slot", *heads, "request"]), width), _HEAD)
    for one in model.rows(height - 1):
        line = Text(f"{one.slot:>4} {one.pid:>7} ")
        line.append(cells.left(one.state, 9), STATES.get(one.state, ""))
        line.append(f" {cells.right(seconds(one.current.seconds), 6) if one.current else '-':>6}")
        line.append(f" {cells.right(rate(one.rate), 6)} {cells.right(percent(one.load), 5)}")
        line.append(f" {cells.right(size(one.rss_bytes), 6)} ")
        if one.current:
            _append_request(line, one.current, cells, width - len(line.plain))
        yield line


_WORKER_HEAD = (
    f"{'slot':>4} {'pid':>7} {'state':<9} {'since':>6} {'req/s':>6} {'cpu':>5} {'rss':>6} request"
)


def _append_request(line: Text, current: Request, cells: Cells, width: int) -> None:
    """Append method, path and `where`. Where it is tight, each has half of the room at least."""
    request, where = f"{current.method} {current.path}", _near(current.where, width)
    if where:
        room = max(width // 2, width - 2 - len(where))
        shown = cells.cut(request, room)
        line.append(shown)
        line.append(f"  {cells.cut(where, width - 2 - Text(shown).cell_len)}", "dim")
    else:
        line.append(cells.cut(request, width))


def _near(where: str, width: int) -> str:
    """Return a place without its folder, if there is no room for that."""
    return where if len(where) <= width // 2 else where.rpartition("/")[2]
