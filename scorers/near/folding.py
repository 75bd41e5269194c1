"""Case and punctuation folded away before words are compared: same length, character by character.

Letters become lower case, punctuation becomes spaces, everything else stays. Each character is replaced by one of the
same number of bytes, so that offsets stay what they are. Lower case is Python's for Latin, Greek, Cyrillic, Armenian
and Georgian capitals, as far as the small letter has as many bytes; Unicode promises that these pairs stay.

>>> data = np.frombuffer("Don’t PANIC, Äpfel!".encode(), np.uint8)
>>> bytes(fold(data, 0, len(data))).decode().split()
['don', 't', 'panic', 'äpfel']
"""

from __future__ import annotations

from functools import cache

import numpy as np

from scorers.bits import pointer, read_only
from scorers.jit import kernel
from scorers.words import decode

VERSION = 1

LAST = 0x3040
"""Code points from here on fold to themselves, fullwidth forms apart."""
FULLWIDTH = 0xFF00
_LETTERS = [(0x41, 0x590), (0x10A0, 0x1100), (0x1E00, 0x2000), (0xFF21, 0xFF3B)]
_PUNCTUATION = "0021-002F 003A-0040 005B-0060 007B-007E 00A1 00A7 00AB 00B6-00B7 00BB 00BF 2010-2027 2030-205E"
_PUNCTUATION += " 3001-3003 3008-3011 3014-301F FF01-FF0F FF1A-FF20 FF3B-FF40 FF5B-FF65"
_SPACES = {1: 0x20, 2: 0xA0, 3: 0x2003}
"""A white space of each length in bytes."""


@cache
def folding_table() -> np.ndarray:
    """uint32 of shape (LAST + 256,): what a code point below LAST becomes, then the block of fullwidth forms."""
    points = [*range(LAST), *range(FULLWIDTH, FULLWIDTH + 256)]
    folded = {point: point for point in points}
    for begin, stop in _LETTERS:
        for point in range(begin, stop):
            lower = chr(point).lower()
            if len(lower) == 1 and _size(ord(lower)) == _size(point):
                folded[point] = ord(lower)
    for span in _PUNCTUATION.split():
        first, _, last = span.partition("-")
        for point in range(int(first, 16), int(last or first, 16) + 1):
            folded[point] = _SPACES[_size(point)]
    return np.array([folded[point] for point in points], np.uint32)


def _size(point: int) -> int:
    return len(chr(point).encode())


def fold(data: np.ndarray, start: int, stop: int) -> np.ndarray:
    """A copy of ``data[start:stop]`` (uint8, UTF-8), folded. Any bytes are safe."""
    out = np.empty(stop - start, np.uint8)
    _fold(read_only(data), start, stop, folding_table(), out)
    return out


@kernel
def _fold(data, start, stop, table, out):
    text, to, folded = pointer(data), pointer(out), pointer(table)
    i = np.int64(start)
    while i < stop:
        byte = text[i]
        if byte < 0x80:
            to[i - start] = folded[byte]
            i += 1
            continue
        point, width = decode(text, i, stop)
        place = point - 0xFF00 + 0x3040 if 0xFF00 <= point < 0x10000 else point
        if place >= len(table) or (0x3040 <= point < 0xFF00):
            new = point
        else:
            new = np.int64(folded[place])
        if new == point:
            for k in range(width):
                to[i - start + k] = text[i + k]
        elif width == 2:
            to[i - start] = 0xC0 | new >> 6
            to[i - start + 1] = 0x80 | (new & 0x3F)
        else:
            to[i - start] = 0xE0 | new >> 12
            to[i - start + 1] = 0x80 | (new >> 6 & 0x3F)
            to[i - start + 2] = 0x80 | (new & 0x3F)
        i += width
