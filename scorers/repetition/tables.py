"""A hash table used anew for every document without being cleared, and the numbering of words built on it.

An entry is ``generation << 32 | value``; an entry of an older generation counts as free. A document uses only the
first ``2 ** bits`` slots that hold twice its entries, so that small documents stay in the nearest cache.
"""

from __future__ import annotations

import numpy as np

from scorers.bits import inlined, load_bytes, pointer, read_only
from scorers.jit import kernel
from scorers.words import Words

FIB = np.uint64(0x9E3779B97F4A7C15)


def table_for(num: int) -> np.ndarray:
    """int64 zeros: a table for documents of up to ``num`` entries. Pages that no document reaches cost nothing."""
    return np.zeros(1 << max(4, int(num).bit_length() + 1), np.int64)


@inlined
def slot_bits(num):
    """Bits of a slot number for ``num`` entries: at most half of the slots are taken."""
    bits = 4
    while (1 << bits) < 2 * num:
        bits += 1
    return bits


def number_words(data: np.ndarray, offsets: np.ndarray, words: Words) -> np.ndarray:
    """int32 per word: equal words of a document, and only those, get the same number; 0, 1, ... by first occurrence.

    Exact: words are compared as bytes, hashes only lead there.
    """
    longest = int(np.diff(words.doc_offsets).max(initial=0))
    ids = np.empty(len(words), np.int32)
    _number(
        read_only(data),
        read_only(offsets),
        words.doc_offsets,
        words.starts,
        words.ends,
        words.hashes,
        table_for(longest),
        np.empty(longest, np.int64),
        ids,
    )
    return ids


@inlined
def _same_bytes(text, a, b, size, limit):
    while size >= 8:
        if load_bytes(text, a, limit) != load_bytes(text, b, limit):
            return False
        a, b, size = a + 8, b + 8, size - 8
    left = (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    return (load_bytes(text, a, limit) ^ load_bytes(text, b, limit)) & left == np.uint64(0)


@kernel
def _number(data, offsets, doc_offsets, starts, ends, hashes, table, firsts, ids):
    text, slots, hash_of, first_of = pointer(data), pointer(table), pointer(hashes), pointer(firsts)
    limit = len(data)
    for doc in range(len(offsets) - 1):
        base, begin, end = offsets[doc], doc_offsets[doc], doc_offsets[doc + 1]
        mask = (1 << slot_bits(end - begin)) - 1
        generation = np.int64(doc + 1) << 32
        num = 0
        for word in range(begin, end):
            h = hash_of[word]
            slot = np.int64(h) & mask
            while True:
                entry = slots[slot]
                if entry < generation:
                    slots[slot] = generation | num
                    first_of[num] = word
                    ids[word] = num
                    num += 1
                    break
                number = entry & 0xFFFFFFFF
                first = first_of[number]
                if hash_of[first] == h:
                    # Words of up to 7 bytes have hashes of their own; a longer one may share any of them.
                    size = ends[word] - starts[word]
                    if size == ends[first] - starts[first] and (
                        size < 8 or _same_bytes(text, base + starts[word], base + starts[first], size, limit)
                    ):
                        ids[word] = number
                        break
                slot = (slot + 1) & mask
