"""Spans of a document's text that are worth a colour: what repeats, identifiers, differences."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WORDS = re.compile(r"\S+")
PIECES = re.compile(r"\s+|[^\s]+")
LONGEST = 4000
"""Words between the first and last difference up to which two texts are compared word by word."""

PLAIN, REPEAT, SHARED, GHOST, ADDED, REMOVED = "", "repeat", "shared", "ghost", "added", "removed"
STYLES = {
    REPEAT: "black on bright_yellow",
    SHARED: "black on bright_cyan",
    GHOST: "bold white on magenta",
    ADDED: "black on bright_green",
    REMOVED: "white on red",
}


@dataclass(frozen=True)
class Mark:
    """Characters begin to end of a text, and why they are marked."""

    begin: int
    end: int
    kind: str


def repeats(text: str, length: int) -> list[Mark]:
    """Every run of `length` words that stands in the text more than once, first copies too; runs that touch are one."""
    words = list(WORDS.finditer(text))
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i in range(len(words) - length + 1):
        places[tuple(word[0] for word in words[i : i + length])].append(i)
    covered = sorted(i for found in places.values() if len(found) > 1 for i in found)
    marks: list[Mark] = []
    for i in covered:
        begin, end = words[i].start(), words[i + length - 1].end()
        if marks and begin <= marks[-1].end + 1:
            marks[-1] = Mark(marks[-1].begin, max(end, marks[-1].end), REPEAT)
        else:
            marks.append(Mark(begin, end, REPEAT))
    return marks


def listed(value: Any, kind: str) -> list[Mark]:
    """The spans of a score column that is a list of structs with start and stop, in characters."""
    if not isinstance(value, list):
        return []
    return [
        Mark(one["start"], one["stop"], kind)
        for one in value
        if isinstance(one, dict) and isinstance(one.get("start"), int) and isinstance(one.get("stop"), int)
    ]


def pieces(text: str, marks: Sequence[Mark]) -> list[tuple[str, str]]:
    """The text as (piece, kind). Where marks lie over each other, the later in the list wins."""
    kinds = [PLAIN] * len(text)
    for mark in marks:
        begin, end = max(mark.begin, 0), min(mark.end, len(text))
        if begin < end:
            kinds[begin:end] = [mark.kind] * (end - begin)
    found: list[tuple[str, str]] = []
    start = 0
    for i in range(1, len(text) + 1):
        if i == len(text) or kinds[i] != kinds[start]:
            found.append((text[start:i], kinds[start]))
            start = i
    return found


def difference(before: str, after: str) -> list[tuple[str, str]]:
    """Both texts as pieces that stayed, went and came, word by word; very long stretches as a whole."""
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    found = [(before[:head], PLAIN)]
    olds, news = PIECES.findall(old), PIECES.findall(new)
    if max(len(olds), len(news)) > LONGEST:
        found += [(old, REMOVED), (new, ADDED)]
    else:
        for what, a, b, c, d in difflib.SequenceMatcher(None, olds, news, autojunk=False).get_opcodes():
            if what == "equal":
                found.append(("".join(olds[a:b]), PLAIN))
            else:
                found += [("".join(olds[a:b]), REMOVED), ("".join(news[c:d]), ADDED)]
    found.append((before[len(before) - tail :], PLAIN))
    return [(piece, kind) for piece, kind in found if piece]


def _common(a: str, b: str) -> int:
    """How many first characters two texts share."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # the longest prefix that is equal, by halving
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle - 1)
    return low


def around(found: Sequence[tuple[str, str]], context: int) -> list[tuple[str, str]]:
    """Pieces with long unmarked stretches cut to their ends."""
    shown = []
    for i, (piece, kind) in enumerate(found):
        first, last = i == 0, i == len(found) - 1
        if kind == PLAIN and len(piece) > 2 * context + 40:
            left, right = ("" if first else piece[:context]), ("" if last else piece[-context:])
            piece = f"{left} ... {len(piece) - len(left) - len(right):,} characters ... {right}"
        shown.append((piece, kind))
    return shown
