"""First passes of the kernel: word boundaries, hashes, rows in the dictionary, for a block of words at a time.

    edges, ... = mark_words(...)     # where words begin and end, from 64 bytes at once
    read_words(...)                  # their first 16 bytes as two numbers
    hash_words(...)                  # FNV-1a, sixteen words side by side
    find_words(...)                  # rows; frequent words from a table in cache, the others fetched ahead

Words are the bytes between fastText's separators: space, \\t, \\n, \\v, \\f, \\r and NUL, nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scorers.fasttext.intrinsics import LANES, hash_lanes, load_u64, prefetch, trailing_zeros, word_bits64
from scorers.fasttext.vocabulary import find_candidate, find_word, first_eight, hash_bytes, is_word_at, row_at
from scorers.jit import kernel

EOS = np.uint64(int.from_bytes(b"</s>", "little"))
LABEL = np.uint64(int.from_bytes(b"__label_", "little"))
_0, _1, _63, _ALL = np.uint64(0), np.uint64(1), np.uint64(63), np.uint64(2**64 - 1)


class Tables(NamedTuple):
    """The dictionary of a model; ``inverse`` is (2**64 - 1) // bucket, ``eos`` the row of </s> or -1."""

    front: np.ndarray
    front_rows: np.ndarray
    slots: np.ndarray
    strings: np.ndarray
    starts: np.ndarray
    gram_slots: np.ndarray
    num_words: int
    eos: int
    bucket: int
    inverse: np.uint64
    word_ngrams: int
    minn: int
    maxn: int


@kernel
def _edge_bits(data, at, stop):
    """word_bits64 for the last bytes of the buffer."""
    bits = np.uint64(0)
    for k in range(stop - at):
        byte = data[at + k]
        if byte != 32 and byte != 0 and not 9 <= byte <= 13:
            bits |= _1 << np.uint64(k)
    return bits


@kernel
def mark_words(data, at, stop, carry, edges, count):
    """Write where words begin and end in up to 64 bytes of a document: (edges so far, whether a word is open)."""
    left = stop - at
    if at + 64 <= len(data):
        bits = word_bits64(data, at)
        if left < 64:
            bits &= (_1 << np.uint64(left)) - _1
    else:
        bits = _edge_bits(data, at, min(stop, at + 64))
    change = bits ^ (bits << _1 | carry)
    while change != 0:
        edges[count] = at + np.int64(trailing_zeros(change))
        count += 1
        change &= change - _1
    carry = bits >> _63
    if left <= 64 and carry != 0:
        edges[count] = stop
        count, carry = count + 1, _0
    return count, carry


@kernel
def read_words(data, edges, count, heads, tails, lengths, longs):
    """First and second eight bytes of each word (zero-padded); returns (words above 16 bytes, whether any is special).

    Special words are those that may be ``</s>`` or begin with ``__label__``.
    """
    if count == 0:
        return 0, False
    inside = edges[2 * count - 1] + 16 <= len(data)
    num_longs = 0
    for j in range(count):
        start, stop = edges[2 * j], edges[2 * j + 1]
        length = stop - start
        if inside:
            head_gap = np.uint64(64 - 8 * min(length, 8))
            tail_gap = np.uint64(32 - 4 * min(max(length - 8, 0), 8))  # applied twice: a shift by 64 is undefined
            heads[j] = load_u64(data, start) & (_ALL >> head_gap)
            tails[j] = load_u64(data, start + 8) & (_ALL >> tail_gap >> tail_gap)
        else:
            heads[j] = first_eight(data, start, stop)
            tails[j] = first_eight(data, start + 8, stop) if length > 8 else _0
        lengths[j] = min(length, 17)
        longs[num_longs] = j
        num_longs += length > 16
    special = False
    for j in range(count):
        special |= (heads[j] == EOS) | (heads[j] == LABEL)
    return num_longs, special


@kernel
def hash_words(data, edges, count, heads, tails, lengths, longs, num_longs, hashes):
    """FNV-1a of each word: the first 16 bytes of LANES words at once, what is beyond one by one."""
    for j in range(0, count, LANES):  # lanes beyond the last word hold old words and are not read
        hash_lanes(heads, tails, lengths, hashes, j)
    for i in range(num_longs):
        j = longs[i]
        hashes[j] = hash_bytes(data, edges[2 * j] + 16, edges[2 * j + 1], np.uint64(hashes[j]))


@kernel
def find_words(data, edges, count, heads, tails, lengths, hashes, tables, missed, places, found):
    """Row of each word or -1; returns whether one is a label. Frequent words are answered by a table that fits L2."""
    num_missed = 0
    mask = np.uint32(len(tables.front_rows) - 1)
    for j in range(count):
        at = np.int64(hashes[j] & mask)
        hit = (tables.front[2 * at] == heads[j]) & (tables.front[2 * at + 1] == tails[j]) & (lengths[j] <= 16)
        found[j] = tables.front_rows[at]
        missed[num_missed] = j
        num_missed += not hit
    mask = np.uint32(len(tables.slots) // 4 - 1)
    for i in range(num_missed):
        prefetch(tables.slots, np.int64(hashes[missed[i]] & mask) * np.int64(4))
    label = False
    num_longs = 0
    for i in range(num_missed):
        j = missed[i]
        place = find_candidate(tables.slots, heads[j], tails[j], np.uint64(hashes[j]), lengths[j] > 16)
        found[j] = row_at(tables.slots, place) if place >= 0 else np.int64(-1)
        label |= found[j] >= tables.num_words
        if place >= 0 and lengths[j] > 16:
            prefetch(tables.starts, np.int64(found[j]) + 1)
            prefetch(tables.strings, np.int64(tables.slots[place + 3]) + 16)
            missed[num_longs] = j  # the list is read ahead of this place
            places[num_longs] = place
            num_longs += 1
    for i in range(num_longs):
        j = missed[i]
        start, stop = edges[2 * j], edges[2 * j + 1]
        if not is_word_at(tables.slots, places[i], tables.strings, tables.starts, data, start, stop):
            found[j] = find_word(tables.slots, tables.strings, tables.starts, np.uint64(hashes[j]), data, start, stop)
    return label


@kernel
def without_newlines(data, offsets, kept, kept_offsets):
    """Copy the documents without the byte 10: words on both sides of a newline become one."""
    at = np.int64(0)
    kept_offsets[0] = 0
    for doc in range(len(offsets) - 1):
        for i in range(offsets[doc], offsets[doc + 1]):
            kept[at] = data[i]
            at += data[i] != 10
        kept_offsets[doc + 1] = at
