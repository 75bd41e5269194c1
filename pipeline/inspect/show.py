"""Documents on a terminal: in colours, off it with brackets, and with nothing that could drive it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from pipeline.inspect.find import Document
from pipeline.inspect.marks import STYLES
from pipeline.output import shown_value

SIGNS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""What would drive a terminal, turn the text around, or not be seen."""
WIDTH = 100
BAR = 20


def console() -> Console:
    """Where it goes: stdout. Off a terminal, lines are WIDTH wide and plain."""
    if sys.stdout.isatty():
        return Console(file=sys.stdout, highlight=False)
    return Console(file=sys.stdout, highlight=False, width=WIDTH, color_system=None, force_terminal=False)


def visible(text: str) -> str:
    """A text with its invisible and driving characters written as <U+001B>."""
    return SIGNS.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def marked(pieces: Iterable[tuple[str, str]], coloured: bool) -> Text:
    """Pieces as one text; without colours a mark is [kind: the piece]."""
    whole = Text()
    for piece, kind in pieces:
        if kind and coloured:
            whole.append(visible(piece), STYLES[kind])
        elif kind:
            whole.append(f"[{kind}: {visible(piece)}]")
        else:
            whole.append(visible(piece))
    return whole


def document(to: Console, one: Document, pieces: Sequence[tuple[str, str]], rest: int) -> None:
    """A document: its name and fate, its text, its scores. rest: characters of the text that are not shown."""
    to.print()
    to.print(Text(visible(one.id), "bold"))
    facts = [f"corpus {one.corpus}", f"source {one.source}", one.shard, f"{len(one.text):,} characters"]
    to.print(Text(visible(", ".join(facts)), "dim"))
    for fate in one.fates:
        all_of_them = ", ".join(fate["reasons"] or []) or fate["reason"] or ""
        line = f"{fate['selection']}: {'kept' if fate['kept'] else f'left out ({all_of_them})'}"
        to.print(Text(visible(line), "green" if fate["kept"] else "yellow"))
    for name, value in one.more.items():
        to.print(Text(f"{visible(name)}: {visible(shown_value(value))}", "dim"))
    to.print()
    to.print(marked(pieces, to.is_terminal), soft_wrap=not to.is_terminal)
    if rest > 0:
        to.print(Text(f"... {rest:,} more characters; --whole shows them", "dim"))
    for stage, values in one.scores.items():
        to.print()
        to.print(Text(visible(stage), "bold"))
        _scores(to, values, one.below.get(stage, {}))


def _scores(to: Console, values: dict[str, Any], below: dict[str, float | None]) -> None:
    """A line per column: its value, and where that stands among the corpus's documents."""
    names = {name: visible(name) for name in values}
    wide = max(map(len, names.values()), default=0)
    for name, value in values.items():
        line = Text(f"  {names[name].ljust(wide)}  {visible(shown_value(value)):>12}")
        share = below.get(name)
        if share is not None:
            at = min(int(share * BAR), BAR - 1)
            line.append(f"  {'·' * at}", "dim")
            line.append("●", "bold cyan")
            line.append("·" * (BAR - 1 - at), "dim")
            line.append(f"  {share:.0%} are below", "dim")
        to.print(line, soft_wrap=True)


def heading(to: Console, title: str) -> None:
    """A line that stands out."""
    to.print()
    to.print(Text(visible(title), "bold"))


def table(to: Console, title: str, rows: Sequence[dict[str, Any]]) -> None:
    """A few rows with their names."""
    heading(to, title)
    if not rows:
        to.print(Text("  none", "dim"))
        return
    names = list(rows[0])
    cells = [[visible(shown_value(row[name])) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    for line in [names, *cells]:
        to.print(Text("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()))
