"""The canonical words of a text: what an identifier and its copies have in common, however they are written.

A canonical word is a maximal run of letters and digits, in lower case, compatibility forms replaced by plain ones and
accents dropped; whatever else stands between words (spaces, line breaks, hyphens, quotes, markup) separates them and is
forgotten; soft hyphens, joiners and zero-width marks do not even separate.

>>> canonical("The ghost:\\n**Cup\\u00adbearer** — t-shirt, ＲＩＣＨＬＹ, naïve")
['the', 'ghost', 'cupbearer', 't', 'shirt', 'richly', 'naive']

The tables go by Unicode 3.2, which every Python carries, so that a canonical word is the same under all of them; later
letters separate words. The same tables drive the kernel (scorers/ghosts/kernel.py). Letters that merely look alike
(Cyrillic for Latin) stay different.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from unicodedata import ucd_3_2_0 as unicode

import numpy as np

SEPARATOR, IGNORED = 0, -1
LARGEST = 0x20000
"""Code points from here on are rare Han: letters as they are."""
_ACCENTS = range(0x300, 0x370)
_HANGUL = range(0xAC00, 0xD7A4)
_INVISIBLE = {0xAD, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x2060, 0x2065)}
"""Marks that Unicode 3.2 did not yet call format characters."""


@dataclass(frozen=True)
class FoldTable:
    """index: uint16 of shape (1024,), the page of code point c at ``index[c >> 7]``; pages: int32 of shape (n, 128).

    A value is a letter's canonical code point, SEPARATOR, IGNORED, or -2 - k: the letters from ``several[k]`` up to the
    next 0 (one character that stands for several, such as a ligature).
    """

    index: np.ndarray
    pages: np.ndarray
    several: np.ndarray

    def fold(self, point: int) -> int:
        """The value of a code point."""
        return point if point >= LARGEST else int(self.pages[self.index[point >> 7], point & 127])


@cache
def fold_table() -> FoldTable:
    """The one table, made at its first use (a tenth of a second)."""
    values = np.zeros(LARGEST, np.int32)
    several: list[int] = []
    for point in range(LARGEST):
        letters = _folded(point)
        if letters is None:
            values[point] = IGNORED
        elif len(letters) == 1:
            values[point] = letters[0]
        elif letters:
            values[point] = -2 - len(several)
            several += [*letters, 0]
    pages, index = np.unique(values.reshape(-1, 128), axis=0, return_inverse=True)
    return FoldTable(index.ravel().astype(np.uint16), np.ascontiguousarray(pages), np.array(several, np.int32))


def _folded(point: int) -> list[int] | None:
    """Canonical letters of a code point; none: it separates words; None: it is passed over."""
    character = chr(point)
    if point in _INVISIBLE:
        return None
    if point in _HANGUL:
        return [point]
    if 0xD800 <= point < 0xE000:
        return []
    plain = unicode.normalize("NFKD", unicode.normalize("NFKD", character).casefold())
    letters = [ord(c) for c in plain if _is_letter(c)]
    if letters:
        return letters
    if all(unicode.category(c) in ("Mn", "Mc", "Me", "Cf") for c in plain):
        return None
    return []


def _is_letter(character: str) -> bool:
    kind = unicode.category(character)
    return kind[0] == "L" or kind == "Nd" or (kind in ("Mn", "Mc") and ord(character) not in _ACCENTS)


def canonical(text: str) -> list[str]:
    """The canonical words of a text, in order."""
    return [word for word, _, _ in canonical_spans(text)]


def canonical_spans(text: str) -> list[tuple[str, int, int]]:
    """(canonical word, begin, end) in characters of the text; an ignored mark at the end belongs to no word."""
    table = fold_table()
    found: list[tuple[str, int, int]] = []
    letters: list[str] = []
    begin = end = 0
    for at, character in enumerate(text):
        value = table.fold(ord(character))
        if value == IGNORED:
            continue
        if value == SEPARATOR:
            if letters:
                found.append(("".join(letters), begin, end))
                letters = []
            continue
        if not letters:
            begin = at
        end = at + 1
        if value > 0:
            letters.append(chr(value))
        else:
            at = -2 - value
            while table.several[at]:
                letters.append(chr(table.several[at]))
                at += 1
    if letters:
        found.append(("".join(letters), begin, end))
    return found
