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

import numpy as np

from scorers.fasttext.bigrams import (
    EOS_HASH,
    LONG,
    count_repeats,
    find_missed,
    look_up,
    pair_rows,
    place_longs,
    sum_pairs,
    sum_words,
)
from scorers.fasttext.grams import MIX, bucket_of, word_parts
from scorers.fasttext.rows import SCALAR, sum_rows
from scorers.fasttext.tokens import (
    BLOCK,
    drop_words,
    find_frequent,
    find_rest,
    hash_words,
    mark_words,
    read_words,
)
from scorers.fasttext.vocabulary import EOS, FNV_OFFSET, FNV_PRIME, LABEL, find_gram
from scorers.jit import kernel

MOST_GRAMS = 1000
IDS = 4 * BLOCK + MOST_GRAMS
PLACES = 1024  # counters of repeats, or more

WORDS, GRAMS = 1, 2  # parts of the feature list

_UNDERSCORE = np.uint8(ord("_"))
_0 = np.uint64(0)


@kernel
def _push_gram(value, tables, ids, count):
    """Append the row of an n-gram's hash, if the model kept it."""
    row = np.int64(bucket_of(value, np.uint64(tables.bucket), tables.inverse))
    if len(tables.gram_slots) > 0:
        row = find_gram(tables.gram_slots, row)
        if row < 0:
            return count
    ids[count] = tables.num_words + row
    return count + 1


@kernel
def _subwords(data, start, stop, tables, rows, mode, ids, sums, hidden, seen, squares):
    """Sum the character n-grams of "<" + word + ">" and count their repeats; returns how many."""
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
                    squares[0] += count_repeats(ids[:count], seen)
                    sum_rows(ids, count, rows, mode, sums, hidden)
                    total, count = total + count, 0
    squares[0] += count_repeats(ids[:count], seen)
    sum_rows(ids, count, rows, mode, sums, hidden)
    return total + count


@kernel
def _word_ngrams(hashes, last, begin, tables, rows, mode, ids, sums, hidden):
    """Sum the n-grams that start at hashes[:begin] and end before ``last``; returns how many."""
    total, count = 0, 0
    for i in range(begin):
        value = np.uint64(np.int64(hashes[i]))
        for j in range(i + 1, min(i + tables.word_ngrams, last)):
            value = value * MIX + np.uint64(np.int64(hashes[j]))
            count = _push_gram(value, tables, ids, count)
        if count + tables.word_ngrams > IDS:
            sum_rows(ids, count, rows, mode, sums, hidden)
            total, count = total + count, 0
    sum_rows(ids, count, rows, mode, sums, hidden)
    return total + count


@kernel
def sum_features(data, begins, stops, tables, rows, mode, parts, sums, hidden, counts, squares):
    """For document i add its features' rows to sums[i] (float64) or hidden[i] (float32), their number to counts[i].

    data uint8; begins and stops int64 (n,): document i is data[begins[i]:stops[i]]. sums (n, outputs) and hidden
    (n, dim) are zeroed by the caller (the one that the mode does not use may have no columns), counts and squares are
    int64 (n,). ``parts``: WORDS, GRAMS or both. squares[i] becomes about the sum of the squared frequencies of the
    words (if the document is above ``LONG`` bytes) and of the character n-grams.
    """
    seen = np.zeros(PLACES if tables.maxn == 0 else 8 * PLACES, np.int32)
    edges = np.empty(2 * BLOCK + 160, np.int64)
    ends, waiting_ends = np.empty(BLOCK + 1, np.int64), np.empty(BLOCK + 1, np.int64)
    words = 2 * BLOCK + 160  # of a block, and the long ones again
    heads, tails = np.empty(words, np.uint64), np.empty(words, np.uint64)
    lengths, missed = np.empty(words, np.int32), np.empty(BLOCK + 80, np.int32)
    hashes, longs = np.zeros(words, np.uint32), np.empty(BLOCK + 80, np.int32)
    found, places = np.empty(BLOCK + 80, np.int32), np.empty(BLOCK + 80, np.int64)
    kept = np.empty(BLOCK + 80 + MOST_GRAMS, np.int32)
    ids, waiting = np.empty(IDS + 80, np.int32), np.zeros(IDS + 80, np.int32)
    halves, scores = np.zeros(BLOCK + 80, np.uint64), np.empty(BLOCK + 80, np.float32)
    pairs_only = mode == SCALAR and tables.word_ngrams == 2 and tables.maxn == 0 and len(tables.gram_slots) == 0
    pairs_only = pairs_only and tables.plain_labels and parts == WORDS | GRAMS
    num = len(begins)
    doc, carry = 0, _0
    at = begins[0] if num > 0 else 0
    held, closed = 0, False  # of the document under way: hashes kept for n-grams to come; whether </s> was met
    num_edges = 0
    waits = False  # whether the bigrams of the block before are still to be summed
    waiting_first, waiting_docs, waiting_count, waiting_more = 0, 0, 0, False
    while doc < num:
        first = doc
        doc, at, carry, num_edges, num_docs = mark_words(data, begins, stops, doc, at, carry, edges, num_edges, ends)
        count = num_edges // 2
        if num_docs > 0:  # a document that has just begun is left to the next block
            count = ends[num_docs - 1]
        plain = pairs_only and not closed
        if plain:
            num_missed, num_longs, special = look_up(
                data, count, tables, rows.table, edges, halves, scores, missed, longs, heads, tails, lengths, places,
                waiting,
            )  # fmt: skip
        if waits:
            sum_pairs(
                waiting_first, waiting_docs, waiting_more, waiting_count, rows.table, waiting_ends, waiting, sums
            )  # fmt: skip
            waits = False
        if plain:
            place_longs(data, num_longs, tables, edges, missed, longs, heads, tails, places)
            special |= find_missed(
                data, num_missed, num_longs, tables, edges, halves, scores, missed, longs, heads, tails, lengths, places
            )
            plain = not special
        if plain:
            pair_rows(count, num_docs, tables, ends, halves, ids)
            held = sum_words(
                data, first, num_docs, num, count, num_missed, tables, rows.table, edges, ends, halves, scores,
                missed, places, held, kept, begins, stops, seen, sums, counts, squares,
            )  # fmt: skip
            ids, waiting = waiting, ids
            ends, waiting_ends = waiting_ends, ends
            waits, waiting_first, waiting_docs, waiting_count, waiting_more = True, first, num_docs, count, doc < num
            num_edges = drop_words(edges, num_edges, count)
            continue
        num_longs = read_words(data, edges, count, heads, tails, lengths, longs)
        hash_words(data, edges, count, heads, tails, lengths, longs, num_longs, hashes)
        num_missed = find_frequent(data, edges, count, heads, tails, lengths, tables, missed, places, found)
        find_rest(data, edges, lengths, heads, tails, tables, rows.table, missed, num_missed, places, found)
        j = 0
        for segment in range(num_docs + (doc < num)):
            target = first + segment
            ended = segment < num_docs
            stop_word = ends[segment] if ended else count
            num_ids, num_kept = 0, held
            closing = False
            while j < stop_word and not closed:
                row, prefix = found[j], heads[j]
                if prefix == EOS:
                    closing = True
                    break
                start, stop = edges[2 * j], edges[2 * j + 1]
                j += 1
                if row >= tables.num_words:
                    continue
                if row < 0 and prefix == LABEL and stop - start > 8 and data[start + 8] == _UNDERSCORE:
                    continue
                kept[num_kept] = np.int32(hashes[j - 1])
                num_kept += 1
                ids[num_ids] = row
                num_ids += row >= 0
                if tables.maxn > 0 and parts & WORDS:
                    sum_rows(ids, num_ids, rows, mode, sums[target], hidden[target])
                    counts[target] += num_ids
                    num_ids = 0
                    counts[target] += _subwords(
                        data,
                        start,
                        stop,
                        tables,
                        rows,
                        mode,
                        ids,
                        sums[target],
                        hidden[target],
                        seen,
                        squares[target : target + 1],
                    )
            j = stop_word
            if not closed:
                closing |= ended
                if closing:
                    kept[num_kept] = np.int32(EOS_HASH)
                    num_kept += 1
                    ids[num_ids] = tables.eos
                    num_ids += tables.eos >= 0
                if parts & WORDS:
                    sum_rows(ids, num_ids, rows, mode, sums[target], hidden[target])
                    counts[target] += num_ids
                if stops[target] - begins[target] > LONG:
                    if pairs_only:  # counted as bigrams.py counts them: the document may have blocks of both kinds
                        for i in range(held, num_kept):
                            halves[i] = word_parts(kept[i], np.uint64(tables.bucket), tables.inverse)
                        squares[target] += count_repeats(halves[held:num_kept], seen)
                    else:
                        squares[target] += count_repeats(kept[held:num_kept], seen)
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
                if tables.maxn > 0 or stops[target] - begins[target] > LONG:
                    seen[:] = 0
        num_edges = drop_words(edges, num_edges, count)
    if waits:
        sum_pairs(waiting_first, waiting_docs, waiting_more, waiting_count, rows.table, waiting_ends, waiting, sums)
