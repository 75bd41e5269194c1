"""From bytes to sums of features: fastText's tokeniser, hashes, look-ups and n-grams over Arrow buffers.

Works on blocks of about a thousand words, in passes over small arrays: word boundaries (64 bytes at a time),
hashes (many words at a time), dictionary look-ups, then n-grams and sums. Separate passes let the processor overlap
cache misses, which are most of the cost. Scratch has a fixed size: a document of any length streams through it.

    sum_features(data, begins, stops, tables, rows, mode, parts, sums, hidden, counts, squares)

Facts of the format: a document's features are its words' rows (with character n-grams if the model has them), then the
rows of its word n-grams, all ending in the token ``</s>``; a literal ``</s>`` ends the document, ``__label__`` tokens
vanish, unknown words count in n-grams only. A newline is a separator here (as if replaced by a space).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scorers.fasttext.intrinsics import (
    LANES,
    hash_lanes,
    load_f32,
    load_u64,
    multiply_high,
    prefetch,
    trailing_zeros,
    word_bits64,
)
from scorers.fasttext.vocabulary import (
    FNV_OFFSET,
    FNV_PRIME,
    find_candidate,
    find_gram,
    find_word,
    first_eight,
    hash_bytes,
    is_word_at,
    row_at,
)
from scorers.jit import kernel

BLOCK = 1024  # words per block
MOST_GRAMS = 1000
IDS = 4 * BLOCK + MOST_GRAMS
LONG, PLACES = 1024, 1024  # documents above LONG bytes have their words' repeats counted, in PLACES counters
AHEAD = 6  # rows fetched ahead of the one being added

SCALAR, FOLDED, DENSE, QUANTISED = 0, 1, 2, 3  # what a row is: see Rows
WORDS, GRAMS = 1, 2  # parts of the feature list

_EOS = np.uint64(int.from_bytes(b"</s>", "little"))
_EOS_HASH = np.uint32(3617362777)
_LABEL = np.uint64(int.from_bytes(b"__label_", "little"))
_UNDERSCORE = np.uint8(ord("_"))
_MIX = np.uint64(116049371)
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


class Rows(NamedTuple):
    """What is summed. SCALAR and FOLDED use ``table`` (float32, ``width`` per feature), DENSE the float32 rows at byte
    ``offset`` of ``data``, QUANTISED the codes. ``skipped`` is a row that counts as a feature but adds nothing, or -1.
    """

    table: np.ndarray
    width: int
    data: np.ndarray
    offset: int
    groups: int
    group_width: int
    codes: np.ndarray
    centroids: np.ndarray
    norm_codes: np.ndarray
    norm_centroids: np.ndarray
    skipped: int


@kernel
def _sum_rows(ids, count, rows, mode, sums, hidden):
    """Add the rows ``ids[:count]``: folded ones to ``sums`` (float64), raw ones to ``hidden`` (float32, in order)."""
    if mode == SCALAR:
        table = rows.table
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        whole = count & ~3
        for i in range(0, whole, 4):
            a += table[ids[i]]
            b += table[ids[i + 1]]
            c += table[ids[i + 2]]
            d += table[ids[i + 3]]
        for i in range(whole, count):
            a += table[ids[i]]
        sums[0] += (a + b) + (c + d)
    elif mode == FOLDED:
        width = rows.width
        for i in range(count):
            first = np.int64(ids[i]) * width
            for k in range(width):
                sums[k] += rows.table[first + k]
    elif mode == DENSE:
        for i in range(count):
            if i + AHEAD < count:
                first = rows.offset + np.int64(ids[i + AHEAD]) * rows.width * 4
                for k in range(0, rows.width * 4, 64):
                    prefetch(rows.data, first + k)
            if ids[i] != rows.skipped:
                first = rows.offset + np.int64(ids[i]) * rows.width * 4
                for k in range(rows.width):
                    hidden[k] += load_f32(rows.data, first + 4 * k)
    else:
        for i in range(count):
            row = np.int64(ids[i])
            if row == rows.skipped:
                continue
            norm = np.float32(1)
            if len(rows.norm_codes) > 0:
                norm = rows.norm_centroids[rows.norm_codes[row]]
            for group in range(rows.groups):
                begin = group * rows.group_width
                size = min(rows.group_width, rows.width - begin)
                centroid = begin * 256 + np.int64(rows.codes[row * rows.groups + group]) * size
                for k in range(size):
                    hidden[begin + k] += norm * rows.centroids[centroid + k]


@kernel
def _bucket_of(value, tables):
    """value mod bucket, by a multiplication."""
    bucket = np.uint64(tables.bucket)
    rest = value - multiply_high(value, tables.inverse) * bucket
    if rest >= bucket:
        rest -= bucket
    return np.int64(rest)


@kernel
def _push_gram(value, tables, ids, count):
    """Append the row of an n-gram's hash, if the model kept it."""
    row = _bucket_of(value, tables)
    if len(tables.gram_slots) > 0:
        row = find_gram(tables.gram_slots, row)
        if row < 0:
            return count
    ids[count] = tables.num_words + row
    return count + 1


@kernel
def _subwords(data, start, stop, tables, rows, mode, ids, sums, hidden):
    """Sum the character n-grams of "<" + word + ">"; returns how many."""
    size = stop - start + 2
    total, count = 0, 0
    for i in range(size):
        if 0 < i < size - 1 and data[start + i - 1] & 0xC0 == 0x80:
            continue
        value, j = FNV_OFFSET, i
        for n in range(1, tables.maxn + 1):
            if j >= size:
                break
            first = True
            while j < size:
                byte = np.uint8(60) if j == 0 else np.uint8(62) if j == size - 1 else data[start + j - 1]
                if not first and byte & 0xC0 != 0x80:
                    break
                first = False
                value = ((value ^ np.uint64(np.int8(byte))) & np.uint64(0xFFFFFFFF)) * FNV_PRIME & np.uint64(0xFFFFFFFF)
                j += 1
            if n >= tables.minn and not (n == 1 and (i == 0 or j == size)):
                count = _push_gram(value, tables, ids, count)
                if count == IDS:
                    _sum_rows(ids, count, rows, mode, sums, hidden)
                    total, count = total + count, 0
    _sum_rows(ids, count, rows, mode, sums, hidden)
    return total + count


@kernel
def _word_ngrams(hashes, last, begin, tables, rows, mode, ids, sums, hidden):
    """Sum the n-grams that start at hashes[:begin] and end before ``last``; returns how many."""
    total, count = 0, 0
    if tables.word_ngrams == 2 and len(tables.gram_slots) == 0:
        pairs = max(last - 1, 0)
        for i in range(pairs):
            value = np.uint64(np.int64(hashes[i])) * _MIX + np.uint64(np.int64(hashes[i + 1]))
            row = tables.num_words + _bucket_of(value, tables)
            ids[i] = row
            if mode == SCALAR:
                prefetch(rows.table, row)
        _sum_rows(ids, pairs, rows, mode, sums, hidden)
        return pairs
    for i in range(begin):
        value = np.uint64(np.int64(hashes[i]))
        for j in range(i + 1, min(i + tables.word_ngrams, last)):
            value = value * _MIX + np.uint64(np.int64(hashes[j]))
            count = _push_gram(value, tables, ids, count)
        if count + tables.word_ngrams > IDS:
            _sum_rows(ids, count, rows, mode, sums, hidden)
            total, count = total + count, 0
    _sum_rows(ids, count, rows, mode, sums, hidden)
    return total + count


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
def _mark_words(data, at, stop, carry, edges, count):
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
def _read_words(data, edges, count, heads, tails, lengths, longs):
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
        special |= (heads[j] == _EOS) | (heads[j] == _LABEL)
    return num_longs, special


@kernel
def _hash_words(data, edges, count, heads, tails, lengths, longs, num_longs, hashes):
    """FNV-1a of each word: the first 16 bytes of LANES words at once, what is beyond one by one."""
    for j in range(0, count, LANES):  # lanes beyond the last word hold old words and are not read
        hash_lanes(heads, tails, lengths, hashes, j)
    for i in range(num_longs):
        j = longs[i]
        hashes[j] = hash_bytes(data, edges[2 * j] + 16, edges[2 * j + 1], np.uint64(hashes[j]))


@kernel
def _find_words(data, edges, count, heads, tails, lengths, hashes, tables, missed, places, found):
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
def sum_features(data, begins, stops, tables, rows, mode, parts, sums, hidden, counts, squares):
    """For document i add its features' rows to sums[i] (float64) or hidden[i] (float32), their number to counts[i].

    data uint8; begins and stops int64 (n,): document i is data[begins[i]:stops[i]]. sums (n, outputs) and hidden
    (n, dim) are zeroed by the caller (the one that the mode does not use may have no columns), counts and squares are
    int64 (n,). ``parts``: WORDS, GRAMS or both. squares[i] becomes about the sum of the squared frequencies of the
    words, for documents above ``LONG`` bytes only.
    """
    seen = np.zeros(PLACES, np.int32)
    edges = np.empty(2 * BLOCK + 160, np.int64)
    ends = np.empty(BLOCK + 1, np.int64)
    heads, tails = np.empty(BLOCK + 80, np.uint64), np.empty(BLOCK + 80, np.uint64)
    lengths, missed = np.empty(BLOCK + 80, np.int32), np.empty(BLOCK + 80, np.int32)
    hashes, longs = np.empty(BLOCK + 80, np.uint32), np.empty(BLOCK + 80, np.int32)
    found, places = np.empty(BLOCK + 80, np.int32), np.empty(BLOCK + 80, np.int64)
    kept = np.empty(BLOCK + 80 + MOST_GRAMS, np.int32)
    ids = np.empty(IDS + 80, np.int32)
    num = len(begins)
    doc, carry = 0, _0
    at = begins[0] if num > 0 else 0
    held, closed = 0, False  # of the document under way: hashes kept for n-grams to come; whether </s> was met
    num_edges = 0
    while doc < num:
        first, num_docs = doc, 0
        while doc < num and num_edges < 2 * BLOCK and num_docs < BLOCK:
            stop = stops[doc]
            while at < stop and num_edges < 2 * BLOCK:
                num_edges, carry = _mark_words(data, at, stop, carry, edges, num_edges)
                at += 64
            if at >= stop:
                ends[num_docs] = num_edges // 2
                num_docs += 1
                doc += 1
                if doc < num:
                    at = begins[doc]
        count = num_edges // 2
        num_longs, special = _read_words(data, edges, count, heads, tails, lengths, longs)
        _hash_words(data, edges, count, heads, tails, lengths, longs, num_longs, hashes)
        special |= _find_words(data, edges, count, heads, tails, lengths, hashes, tables, missed, places, found)
        j = 0
        for segment in range(num_docs + (doc < num)):
            target = first + segment
            ended = segment < num_docs
            stop_word = ends[segment] if ended else count
            num_ids, num_kept = 0, held
            closing = False
            if not special and not closed and tables.maxn == 0:
                for i in range(j, stop_word):
                    kept[num_kept + i - j] = np.int32(hashes[i])
                num_kept += stop_word - j
                for i in range(j, stop_word):
                    ids[num_ids] = found[i]
                    num_ids += found[i] >= 0
                j = stop_word
            while j < stop_word and not closed:
                row, prefix = found[j], heads[j]
                if prefix == _EOS:
                    closing = True
                    break
                start, stop = edges[2 * j], edges[2 * j + 1]
                j += 1
                if row >= tables.num_words:
                    continue
                if row < 0 and prefix == _LABEL and stop - start > 8 and data[start + 8] == _UNDERSCORE:
                    continue
                kept[num_kept] = np.int32(hashes[j - 1])
                num_kept += 1
                ids[num_ids] = row
                num_ids += row >= 0
                if tables.maxn > 0 and stop - start > LONG // 4:  # its character n-grams may be all the same
                    squares[target] += (stop - start) ** 2
                if tables.maxn > 0 and parts & WORDS:
                    _sum_rows(ids, num_ids, rows, mode, sums[target], hidden[target])
                    counts[target] += num_ids
                    num_ids = 0
                    counts[target] += _subwords(
                        data, start, stop, tables, rows, mode, ids, sums[target], hidden[target]
                    )
            j = stop_word
            if not closed:
                closing |= ended
                if closing:
                    kept[num_kept] = np.int32(_EOS_HASH)
                    num_kept += 1
                    ids[num_ids] = tables.eos
                    num_ids += tables.eos >= 0
                if parts & WORDS:
                    _sum_rows(ids, num_ids, rows, mode, sums[target], hidden[target])
                    counts[target] += num_ids
                if stops[target] - begins[target] > LONG:
                    for i in range(held, num_kept):
                        place = kept[i] & (PLACES - 1)
                        squares[target] += 2 * seen[place] + 1
                        seen[place] += 1
                held = 0
                if tables.word_ngrams > 1 and parts & GRAMS:
                    begin = num_kept if closing else max(0, num_kept - tables.word_ngrams + 1)
                    counts[target] += _word_ngrams(
                        kept, num_kept, begin, tables, rows, mode, ids, sums[target], hidden[target]
                    )
                    if not closing:
                        held = num_kept - begin
                        for i in range(held):
                            kept[i] = kept[begin + i]
                closed = closing
            if ended:
                closed, held = False, 0
                if stops[target] - begins[target] > LONG:
                    seen[:] = 0
        if num_edges & 1:  # a word is open: it goes to the next block
            edges[0] = edges[num_edges - 1]
        num_edges &= 1


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
