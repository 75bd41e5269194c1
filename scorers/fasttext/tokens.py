"""First passes of the kernel: word boundaries, hashes, rows in the dictionary, for a block of words at a time.

    edges, ... = mark_words(...)     # where words begin and end, from 64 bytes at once
    read_words(...)                  # their first 16 bytes as two numbers
    hash_words(...)                  # FNV-1a, sixteen words side by side
    find_frequent(...)               # rows of frequent words, from a table in cache; the others are fetched ahead
    find_rest(...)                   # rows of the others

Words are the bytes between fastText's separators: space, \\t, \\n, \\v, \\f, \\r and NUL, nothing else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scorers.bits import trailing_zeros
from scorers.fasttext.intrinsics import LANES, count_ones, hash_lanes, load_u64, prefetch, word_bits64
from scorers.fasttext.vocabulary import (
    FNV_OFFSET,
    MASKS,
    ROW,
    find_candidate,
    find_word,
    first_eight,
    front_place,
    hash_bytes,
    is_word_at,
    mixed,
    mixed_word,
    rest_at,
    row_at,
    slot_shift,
)
from scorers.jit import kernel

BLOCK = 1024  # words per block
_0, _1, _2, _3, _8 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(8)
_63 = np.uint64(63)


class Tables(NamedTuple):
    """The dictionary of a model. ``inverse`` is (2**64 - 1) // bucket, ``eos`` the row of </s> or -1, ``plain_labels``
    whether every label begins with __label__.
    """

    front: np.ndarray
    slots: np.ndarray
    rests: np.ndarray
    gram_slots: np.ndarray
    num_words: int
    eos: int
    plain_labels: bool
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
def mark_words(data, begins, stops, doc, at, carry, edges, count, ends):
    """Write where words begin and end, 64 bytes at a time, until ``edges`` is full or the documents end.

    Goes on at byte ``at`` of document ``doc``; ``carry`` is 1 while a word is open, ``count`` the number of edges so
    far. ends[i] becomes the number of words up to the end of the i-th document that ends here. Returns (doc, at, carry,
    count, number of ends).
    """
    num, num_docs = len(begins), 0
    while doc < num and count < 2 * BLOCK and num_docs < BLOCK:
        stop = stops[doc]
        while at < stop and count < 2 * BLOCK:
            left = stop - at
            if at + 64 <= len(data):
                bits = word_bits64(data, at)
                if left < 64:
                    bits &= (_1 << np.uint64(left)) - _1
            else:
                bits = _edge_bits(data, at, min(stop, at + 64))
            change = bits ^ (bits << _1 | carry)
            place = np.uint64(count)  # an unsigned index needs no check for counting from the end
            count += np.int64(count_ones(change))
            while change != 0:  # eight at a time: the number of rounds is easier to predict than the number of edges
                for k in range(np.uint64(8)):
                    edges[place + k] = at + np.int64(trailing_zeros(change))
                    change &= change - _1
                place += _8
            carry = bits >> _63
            at += 64
            if left <= 64 and carry != 0:
                edges[count] = stop
                count += 1
                carry = _0
        if at >= stop:
            ends[num_docs] = count // 2
            num_docs += 1
            doc += 1
            if doc < num:
                at = begins[doc]
    return doc, at, carry, count, num_docs


@kernel
def drop_words(edges, num_edges, count):
    """Take the first ``count`` words off; returns the number of edges left, an open word's among them."""
    for i in range(2 * count, num_edges):
        edges[i - 2 * count] = edges[i]
    return num_edges - 2 * count


@kernel
def read_words(data, edges, count, heads, tails, lengths, longs):
    """First and second eight bytes of each word (zero-padded); returns how many are above 16 bytes."""
    if count == 0:
        return _0
    inside = edges[2 * count - 1] + 16 <= len(data)
    num_longs: Any = _0
    if not inside:
        for j in range(count):
            start, stop = edges[2 * j], edges[2 * j + 1]
            heads[j] = first_eight(data, start, stop)
            tails[j] = first_eight(data, start + 8, stop) if stop - start > 8 else _0
    for u in range(np.uint64(count)):
        start = edges[u + u]
        length = edges[u + u + _1] - start
        if inside:
            known = np.uint64(min(length, 16))
            heads[u] = load_u64(data, start) & MASKS[known + known]
            tails[u] = load_u64(data, start + 8) & MASKS[known + known + _1]
        lengths[u] = min(length, 17)
        longs[num_longs] = u
        num_longs += np.uint64(length > 16)
    return num_longs


@kernel
def hash_words(data, edges, count, heads, tails, lengths, longs, num_longs, hashes):
    """FNV-1a of each word: the first 16 bytes of LANES words at once, what is beyond one by one."""
    hashes[: count + LANES] = FNV_OFFSET
    for j in range(0, count, LANES):  # lanes beyond the last word hold old words and are not read
        hash_lanes(heads, tails, lengths, hashes, j)
    for i in range(num_longs):
        j = longs[i]
        hashes[j] = hash_bytes(data, edges[2 * j] + 16, edges[2 * j + 1], np.uint64(hashes[j]))


@kernel
def find_frequent(data, edges, count, heads, tails, lengths, tables, missed, places, found):
    """Row of each frequent word, from a table that fits the cache; lists the others and asks for their memory.

    places[i] becomes the number of the place where the i-th of them is looked for first.
    """
    num_missed: Any = _0
    for u in range(np.uint64(count)):
        at = front_place(mixed(heads[u], tails[u]))
        differs = (tables.front[at] ^ heads[u]) | (tables.front[at + _1] ^ tails[u])
        found[u] = np.int32(tables.front[at + _3] & ROW)
        missed[num_missed] = u
        num_missed += np.uint64((differs != 0) | (lengths[u] > 16))
    shift = slot_shift(tables.slots)
    for i in range(num_missed):
        word = np.uint64(missed[i])
        mix = mixed(heads[word], tails[word])
        if lengths[word] > 16:
            mix = mixed_word(data, edges[word + word], edges[word + word + _1])
        places[i] = np.int64(mix >> shift)
        prefetch(tables.slots, places[i] << 2)
    return num_missed


@kernel
def find_rest(data, edges, lengths, heads, tails, tables, table, missed, num_missed, places, found):
    """Row of each listed word, or -1, and a request for its number in ``table``."""
    num_longs: Any = _0
    for i in range(num_missed):
        j = np.uint64(missed[i])
        long = lengths[j] > 16
        place = find_candidate(tables.slots, np.uint64(places[i]), heads[j], tails[j], long)
        if place >= 0 and long:  # its row stands with its rest
            prefetch(tables.rests, rest_at(tables.slots, place))
            missed[num_longs] = np.int32(j)  # the lists are read ahead of this place
            places[num_longs] = place
            num_longs += _1
            continue
        found[j] = row_at(tables.slots, tables.rests, place) if place >= 0 else np.int64(-1)
        prefetch(table, np.int64(found[j]))  # rare words: seldom in cache when the sums read it; never faults
    for i in range(num_longs):
        word = np.uint64(missed[i])
        start, stop = edges[word + word], edges[word + word + _1]
        if is_word_at(tables.slots, places[i], tables.rests, data, start, stop):
            found[word] = row_at(tables.slots, tables.rests, places[i])
        else:
            found[word] = find_word(tables.slots, tables.rests, data, start, stop)
        prefetch(table, np.int64(found[word]))


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
