"""Canonical words while the bytes are read: the kernel's side of scorers.ghosts.canonical.

A word's hash is made while its letters are read, eight bytes at a time where they are ASCII.

    words = canonical_words(data, offsets)                   # for tables and tests; the pass calls next_word
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from scorers.bits import inlined, load_bytes, pointer, read_only, trailing_zeros
from scorers.ghosts.canonical import IGNORED, LARGEST, SEPARATOR, fold_table
from scorers.jit import kernel
from scorers.words import decode, mix

_SEED = np.uint64(0x9E3779B97F4A7C15)
_FOLD = np.uint64(0xBF58476D1CE4E5B9)
_32, _ONE, _THREE = np.uint64(32), np.uint64(1), np.uint64(3)
_EACH_20, _EACH_7F, _EACH_80 = (np.uint64(0x0101010101010101 * byte) for byte in (0x20, 0x7F, 0x80))
_FROM_A, _PAST_Z = (np.uint64(0x0101010101010101 * (0x80 - byte)) for byte in (ord("a"), ord("z") + 1))
_FROM_0, _PAST_9 = (np.uint64(0x0101010101010101 * (0x80 - byte)) for byte in (ord("0"), ord("9") + 1))


@dataclass(frozen=True)
class CanonicalWords:
    """Canonical words of n documents: doc_offsets int64 (n + 1,); begins, ends int64, bytes within the document."""

    doc_offsets: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    hashes: np.ndarray


@cache
def tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What next_word wants: ASCII letters (0 separates), and the arrays of the fold table."""
    table = fold_table()
    ascii_letters = np.array([max(table.fold(c), 0) for c in range(128)], np.uint8)
    assert all(table.fold(c) >= 0 for c in range(128))
    return tuple(map(read_only, (ascii_letters, table.index, table.pages, table.several)))  # type: ignore[return-value]


def canonical_words(data: np.ndarray, offsets: np.ndarray) -> CanonicalWords:
    """All canonical words, as the pass sees them."""
    most = int(offsets[-1] - offsets[0]) // 2 + len(offsets)
    begins, ends, hashes = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.uint64)
    doc_offsets = np.zeros(len(offsets), np.int64)
    num = _words(read_only(data), read_only(offsets), *tables(), doc_offsets, begins, ends, hashes)
    return CanonicalWords(doc_offsets, begins[:num], ends[:num], hashes[:num])


@inlined
def _plain_letters(x):
    """How many of 8 bytes, from the lowest, are ASCII letters or digits; and the bytes with letters in lower case."""
    plain = x & _EACH_7F
    lower = plain | _EACH_20
    letter = (lower + _FROM_A) & ~(lower + _PAST_Z)
    digit = (plain + _FROM_0) & ~(plain + _PAST_9)
    other = ~((letter | digit) & ~x) & _EACH_80
    return np.int64(trailing_zeros(other) >> _THREE), lower


@kernel
def _folded_word(text, i, end, letters, page_of, page, several):
    """next_word for any characters, letter by letter."""
    begin, stop, h, chunk, size = np.int64(-1), i, _SEED, np.uint64(0), 0
    while i < end:
        point, width = np.int64(text[i]), 1
        if point < 128:
            value = np.int64(letters[point])
        else:
            point, width = decode(text, i, end)
            value = point
            if point < LARGEST:
                value = np.int64(page[np.int64(page_of[point >> 7]) << 7 | (point & 127)])
        if value == SEPARATOR:
            if begin >= 0:
                break
        elif value != IGNORED:
            if begin < 0:
                begin = i
            stop = i + width
            more = np.int64(0)
            if value < 0:
                more = -1 - value
                value = np.int64(several[more - 1])
            while value:
                # The letter's UTF-8, byte by byte.
                left = 0 if value < 0x80 else 1 if value < 0x800 else 2 if value < 0x10000 else 3
                byte = value if left == 0 else (0xFF00 >> left + 1 & 0xFF) | value >> 6 * left
                while True:
                    chunk |= np.uint64(byte) << np.uint64(8 * size)
                    size += 1
                    if size == 8:
                        h = (h ^ chunk) * _FOLD
                        h ^= h >> _32
                        chunk, size = np.uint64(0), 0
                    if left == 0:
                        break
                    left -= 1
                    byte = 0x80 | (value >> 6 * left & 0x3F)
                value = np.int64(0)
                if more:
                    value = np.int64(several[more])
                    more += 1
        i += width
    return begin, stop, mix(h ^ (chunk | _ONE << np.uint64(8 * size))), i


@inlined
def next_word(text, i, end, limit, letters, page_of, page, several):
    """(begin, end, hash, where to go on) of the first word at or after i; begin is -1 if there is none.

    The hash is that of scorers.words.hash_bytes over the canonical word in UTF-8. Nearly every word is ASCII up to the
    character after it: eight bytes at a time. Any other one starts again, letter by letter.
    """
    while i < end and text[i] < 128 and not letters[text[i]]:
        i += 1
    begin, h = i, _SEED
    run, lower = _plain_letters(load_bytes(text, i, limit))
    run = min(run, end - i)
    while run == 8:
        h = (h ^ lower) * _FOLD
        h ^= h >> _32
        i += 8
        run, lower = _plain_letters(load_bytes(text, i, limit))
        run = min(run, end - i)
    i += run
    mark = _ONE << np.uint64(8 * run)
    h = mix(h ^ ((lower & (mark - _ONE)) | mark))
    if i < end and text[i] >= 128:
        return _folded_word(text, begin, end, letters, page_of, page, several)
    return (begin if i > begin else np.int64(-1)), i, h, i


@kernel
def _words(data, offsets, letter_of, index, pages, several_of, doc_offsets, begins, ends, hashes):
    text, letters, page_of = pointer(data), pointer(letter_of), pointer(index)
    page, several, limit = pointer(pages), pointer(several_of), len(data)
    num = 0
    for doc in range(len(offsets) - 1):
        first, i, end = offsets[doc], offsets[doc], offsets[doc + 1]
        while True:
            begin, stop, h, i = next_word(text, i, end, limit, letters, page_of, page, several)
            if begin < 0:
                break
            begins[num], ends[num], hashes[num] = begin - first, stop - first, h
            num += 1
        doc_offsets[doc + 1] = num
    return num
