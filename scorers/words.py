"""The one word split that all CPU scorers share, straight over UTF-8 bytes.

A word is a maximal run of characters that are not white space (the white space of ``str.split``). A character of a
script written without spaces (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan and their punctuation, listed in
scorers/characters.py) is a word of its own, together with the marks that follow it.

Why not a tokenizer: every visible character belongs to exactly one word, so "characters of the words" means the same
to every metric; nothing but white space, marks and the blocks of a few scripts is looked up, which new versions of
Unicode do not reshuffle; and dolma and RedPajama count this way too. The price: punctuation stays with its word,
"cat," is not "cat". Other splits: "whitespace" is plain ``str.split``, "characters" makes each character a word.

>>> data, offsets = np.frombuffer("Hi there! 你好".encode(), np.uint8), np.array([0, 16])
>>> words = split_words(data, offsets)
>>> [bytes(data[a:b]).decode() for a, b in zip(words.starts, words.ends)]
['Hi', 'there!', '你', '好']
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scorers.bits import inlined, load_bytes, pointer, read_only, trailing_zeros
from scorers.characters import MARK, SPACE, SPACELESS, lookup_table
from scorers.jit import kernel

VERSION = 1

Split = Literal["unicode", "whitespace", "characters"]

_SEED = np.uint64(0x9E3779B97F4A7C15)
_FOLD = np.uint64(0xBF58476D1CE4E5B9)
_MIX = np.uint64(0x94D049BB133111EB)
_ONE, _SHIFT_3, _SHIFT_29, _SHIFT_32 = np.uint64(1), np.uint64(3), np.uint64(29), np.uint64(32)
_HIGH_BITS, _EACH_21 = np.uint64(0x8080808080808080), np.uint64(0x2121212121212121)


@dataclass(frozen=True)
class Words:
    """The words of n documents, in order.

    doc_offsets: int64 of shape (n + 1,); the words of document d are those from ``doc_offsets[d]`` up to
        ``doc_offsets[d + 1]``.
    starts, ends: int32, byte positions within the document; ``starts[w] == ends[w - 1]`` if no space lies between.
    chars: int32, code points of each word.
    hashes: uint64, equal for equal words; different words of at most 7 bytes never share one.
    """

    doc_offsets: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    chars: np.ndarray
    hashes: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)


def split_words(data: np.ndarray, offsets: np.ndarray, split: Split = "unicode") -> Words:
    """The words of the documents ``data[offsets[d]:offsets[d + 1]]``; data uint8, offsets int64.

    Any bytes are safe; what is not UTF-8 splits somehow, but always in the same way.
    Raises ValueError for a document of 2 GiB or more.
    """
    table = lookup_table(split)
    sizes = np.diff(offsets)
    largest = int(sizes.max(initial=0))
    if largest >= 2**31:
        raise ValueError(f"document {int(sizes.argmax())} of the batch has {largest} bytes; expected less than 2 GiB")
    doc_offsets = np.zeros(len(offsets), np.int64)
    # No document holds more words than bytes: with that much room left the kernel needs no check per word.
    # What stays unused was never touched and costs no memory.
    arrays = _empty_words(int(sizes.sum()) // 4 + largest)
    doc = num = 0
    while True:
        doc, num = _split(read_only(data), read_only(offsets), table.index, table.pages, doc, num, doc_offsets, *arrays)
        if doc == len(sizes):
            break
        grown = _empty_words(2 * len(arrays[0]) + largest)
        for old, new in zip(arrays, grown, strict=True):
            new[:num] = old[:num]
        arrays = grown
    starts, ends, chars, hashes = (array[:num] for array in arrays)
    return Words(doc_offsets, starts, ends, chars, hashes)


def count_characters(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 per document: its code points, that is, the bytes that continue no character."""
    counts = np.empty(len(offsets) - 1, np.int64)
    _count_characters(read_only(data), read_only(offsets), counts)
    return counts


@kernel
def _count_characters(data, offsets, counts):
    text = pointer(data)
    for doc in range(len(offsets) - 1):
        num = 0
        for i in range(offsets[doc], offsets[doc + 1]):
            num += (text[i] & 0xC0) != 0x80
        counts[doc] = num


def _empty_words(num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(num, np.int32), np.empty(num, np.int32), np.empty(num, np.int32), np.empty(num, np.uint64)


@inlined
def decode(text, i, end):
    """Code point and length in bytes of the character at text[i]; a lead byte without its tail counts alone."""
    lead = np.int64(text[i])
    if lead < 0x80:
        return lead, 1
    if 0xC0 <= lead < 0xE0 and i + 1 < end:
        return (lead & 0x1F) << 6 | (np.int64(text[i + 1]) & 0x3F), 2
    if 0xE0 <= lead < 0xF0 and i + 2 < end:
        return (lead & 0x0F) << 12 | (np.int64(text[i + 1]) & 0x3F) << 6 | (np.int64(text[i + 2]) & 0x3F), 3
    if 0xF0 <= lead < 0xF5 and i + 3 < end:
        point = (
            (lead & 0x07) << 18
            | (np.int64(text[i + 1]) & 0x3F) << 12
            | (np.int64(text[i + 2]) & 0x3F) << 6
            | (np.int64(text[i + 3]) & 0x3F)
        )
        return (point, 4) if point < 0x110000 else (np.int64(0xFFFD), 4)
    return np.int64(0xFFFD), 1


@inlined
def kind_of(page_of, kinds, point):
    """The classes of a code point, from the pointers to a CharacterTable's arrays."""
    return kinds[np.int64(page_of[point >> 7]) << 7 | (point & 127)]


@inlined
def mix(h):
    """A bijection on uint64 whose every output bit depends on every input bit."""
    h = (h ^ (h >> _SHIFT_32)) * _FOLD
    h = (h ^ (h >> _SHIFT_29)) * _MIX
    return h ^ (h >> _SHIFT_32)


@inlined
def hash_bytes(text, start, end, limit):
    """Hash of text[start:end], injective up to 7 bytes; nothing is read at or after text[limit]."""
    h = _SEED
    while end - start >= 8:
        h = (h ^ load_bytes(text, start, limit)) * _FOLD
        h ^= h >> _SHIFT_32
        start += 8
    # What is left fits below a 1 that marks how many bytes they are.
    mark = _ONE << np.uint64(8 * (end - start))
    return mix(h ^ ((load_bytes(text, start, limit) & (mark - _ONE)) | mark))


@inlined
def _plain_bytes(x):
    """How many of the 8 bytes, from the lowest, are ASCII above the space."""
    below_21_or_above_7f = ((x - _EACH_21) | x) & _HIGH_BITS  # a borrow reaches only bytes after the first hit
    return np.int64(trailing_zeros(below_21_or_above_7f) >> _SHIFT_3)


@inlined
def _word_end(text, i, end, limit, page_of, kinds):
    """End of the word that starts at text[i] (i itself at white space), and its bytes that begin no character."""
    start, tails, alone = i, 0, False
    while i < end:
        width = 1
        if text[i] < 0x80:
            kind = kinds[text[i]]
            if not kind & (SPACE | SPACELESS) and not alone:
                i = min(i + max(_plain_bytes(load_bytes(text, i, limit)), 1), end)
                continue
        else:
            point, width = decode(text, i, end)
            kind = kind_of(page_of, kinds, point)
        if kind & SPACE or (alone and not kind & MARK):
            break
        if kind & SPACELESS:
            if i > start:
                break
            alone = True
        tails += width - 1
        i += width
    return i, tails


@kernel
def _split(data, offsets, index, pages, first_doc, num, doc_offsets, starts, ends, chars, hashes):
    """Split documents from first_doc on while there is room for the next; returns (next document, words so far)."""
    text, page_of, kinds = pointer(data), pointer(index), pointer(pages)
    limit = len(data)
    plain_ascii = not kinds[65] & SPACELESS
    for doc in range(first_doc, len(offsets) - 1):
        begin, end = offsets[doc], offsets[doc + 1]
        if num + (end - begin) > len(starts):
            return doc, num
        i = begin
        while i < end:
            # Nearly every word of a Latin text is ASCII: its end is found and its hash made (as hash_bytes does) in one
            # go. Any other word starts again below.
            stop, folded = i, _SEED
            x = load_bytes(text, stop, limit)
            plain = min(_plain_bytes(x), end - stop)
            while plain == 8 and plain_ascii:
                folded = (folded ^ x) * _FOLD
                folded ^= folded >> _SHIFT_32
                stop += 8
                x = load_bytes(text, stop, limit)
                plain = min(_plain_bytes(x), end - stop)
            stop += plain
            if stop == end or (text[stop] < 0x80 and kinds[text[stop]] & SPACE):
                if stop == i:
                    i += 1
                    continue
                if plain_ascii:
                    mark = _ONE << np.uint64(8 * plain)
                    starts[num] = i - begin
                    ends[num] = stop - begin
                    chars[num] = stop - i
                    hashes[num] = mix(folded ^ ((x & (mark - _ONE)) | mark))
                    num += 1
                    i = stop + (stop < end)
                    continue
            stop, tails = _word_end(text, i, end, limit, page_of, kinds)
            if stop == i:  # white space of more than one byte
                i += decode(text, i, end)[1]
                continue
            starts[num] = i - begin
            ends[num] = stop - begin
            chars[num] = stop - i - tails
            hashes[num] = hash_bytes(text, i, stop, limit)
            num += 1
            i = stop
        doc_offsets[doc + 1] = num
    return len(offsets) - 1, num
