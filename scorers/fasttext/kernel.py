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

from scorers.fasttext.intrinsics import multiply_high, prefetch
from scorers.fasttext.rows import SCALAR, sum_rows, sum_scalars
from scorers.fasttext.tokens import EOS, LABEL, find_frequent, find_rest, hash_words, mark_words, read_words
from scorers.fasttext.vocabulary import FNV_OFFSET, FNV_PRIME, find_gram
from scorers.jit import kernel

BLOCK = 1024  # words per block
MOST_GRAMS = 1000
IDS = 4 * BLOCK + MOST_GRAMS
FEW = 512  # words: fewer cannot reach the sum of squared frequencies from which classifier.py repeats the float32 sums
LONG, PLACES = 1024, 1024  # documents above LONG bytes have their repeats counted, in PLACES counters or more

WORDS, GRAMS = 1, 2  # parts of the feature list

_EOS_HASH = np.uint32(3617362777)
_UNDERSCORE = np.uint8(ord("_"))
_MIX = np.uint64(116049371)
_0 = np.uint64(0)


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
def _count_repeats(values, seen):
    """Growth of the sum of squared frequencies; values share a counter where their low bits agree."""
    growth = 0
    mask = np.uint32(len(seen) - 1)
    for value in values:
        place = np.uint32(value) & mask
        growth += 2 * seen[place] + 1
        seen[place] += 1
    return growth


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
                    squares[0] += _count_repeats(ids[:count], seen)
                    sum_rows(ids, count, rows, mode, sums, hidden)
                    total, count = total + count, 0
    squares[0] += _count_repeats(ids[:count], seen)
    sum_rows(ids, count, rows, mode, sums, hidden)
    return total + count


@kernel
def _word_ngrams(hashes, last, begin, tables, rows, mode, ids, sums, hidden):
    """Sum the n-grams that start at hashes[:begin] and end before ``last``; returns how many."""
    total, count = 0, 0
    for i in range(begin):
        value = np.uint64(np.int64(hashes[i]))
        for j in range(i + 1, min(i + tables.word_ngrams, last)):
            value = value * _MIX + np.uint64(np.int64(hashes[j]))
            count = _push_gram(value, tables, ids, count)
        if count + tables.word_ngrams > IDS:
            sum_rows(ids, count, rows, mode, sums, hidden)
            total, count = total + count, 0
    sum_rows(ids, count, rows, mode, sums, hidden)
    return total + count


@kernel
def _pair_row(first, second, tables):
    """Row of the bigram of two hashes."""
    value = np.uint64(np.int64(np.int32(first))) * _MIX + np.uint64(np.int64(np.int32(second)))
    bucket = np.uint64(tables.bucket)
    rest = value - multiply_high(value, tables.inverse) * bucket
    return np.int64(np.uint64(tables.num_words) + (rest - bucket if rest >= bucket else rest))


@kernel
def _pairs(num_docs, count, ends, hashes, tables, table, following, ids):
    """Rows of the bigrams that begin at each word of a block without special words, and a request for their memory.

    The word after the last word of a document is </s>; after the last word of the block it is not known yet, and
    what is written there is not read.
    """
    for j in range(count):
        following[j] = hashes[j + 1]
    for i in range(num_docs):
        if ends[i] > 0:
            following[ends[i] - 1] = _EOS_HASH
    for j in range(count):
        row = _pair_row(hashes[j], following[j], tables)
        ids[j] = row
        prefetch(table, row)


@kernel
def _sum_pairs(
    first, num_docs, num, count, ends, hashes, found, ids, tables, table, held, kept, begins, stops, seen, sums,
    counts, squares,
):  # fmt: skip
    """Sum a block without special words for a model of words and bigrams; returns the number of hashes held."""
    zero_row = np.int32(len(table) - 1)
    start = 0
    for segment in range(num_docs + (first + num_docs < num)):
        target = first + segment
        ended = segment < num_docs
        stop = ends[segment] if ended else count
        last = stop if ended else max(stop - 1, start)  # pairs that are complete
        total = sum_scalars(ids, start, last, table)
        features = last - start
        if held > 0 and (stop > start or ended):
            total += table[_pair_row(kept[0], np.int32(hashes[start] if stop > start else _EOS_HASH), tables)]
            features += 1
        for j in range(start, stop):
            features += found[j] >= 0
            ids[j] = found[j] if found[j] >= 0 else zero_row
        total += sum_scalars(ids, start, stop, table)
        if ended and tables.eos >= 0:
            total += table[tables.eos]
            features += 1
        sums[target, 0] += total
        counts[target] += features
        # a document of few words that lies within the block cannot reach the limit of repeats
        across = not ended or segment == 0
        if (across or stop - start > FEW) and stops[target] - begins[target] > LONG:
            squares[target] += _count_repeats(hashes[start:stop], seen)
            if ended:
                seen[:] = 0
        if ended:
            held = 0
        elif stop > start:
            kept[0] = np.int32(hashes[stop - 1])
            held = 1
        start = stop
    return held


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
    ends = np.empty(BLOCK + 1, np.int64)
    heads, tails = np.empty(BLOCK + 80, np.uint64), np.empty(BLOCK + 80, np.uint64)
    lengths, missed = np.empty(BLOCK + 80, np.int32), np.empty(BLOCK + 80, np.int32)
    following = np.empty(BLOCK + 80, np.uint32)
    hashes, longs = np.zeros(BLOCK + 80, np.uint32), np.empty(BLOCK + 80, np.int32)
    found, places = np.empty(BLOCK + 80, np.int32), np.empty(BLOCK + 80, np.int64)
    kept = np.empty(BLOCK + 80 + MOST_GRAMS, np.int32)
    ids = np.empty(IDS + 80, np.int32)
    pairs_only = mode == SCALAR and tables.word_ngrams == 2 and tables.maxn == 0 and len(tables.gram_slots) == 0
    pairs_only = pairs_only and tables.plain_labels and parts == WORDS | GRAMS
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
                num_edges, carry = mark_words(data, at, stop, carry, edges, num_edges)
                at += 64
            if at >= stop:
                ends[num_docs] = num_edges // 2
                num_docs += 1
                doc += 1
                if doc < num:
                    at = begins[doc]
        count = num_edges // 2
        num_longs, special = read_words(data, edges, count, heads, tails, lengths, longs)
        hash_words(data, edges, count, heads, tails, lengths, longs, num_longs, hashes)
        num_missed = find_frequent(count, heads, tails, lengths, hashes, tables, missed, found)
        plain = pairs_only and not special and not closed
        if plain:  # while the memory of rare words is on its way
            _pairs(num_docs, count, ends, hashes, tables, rows.table, following, ids)
        special |= find_rest(
            data, edges, lengths, heads, tails, hashes, tables, rows.table, missed, num_missed, places, found
        )  # fmt: skip
        if plain:
            held = _sum_pairs(
                first, num_docs, num, count, ends, hashes, found, ids, tables, rows.table, held, kept, begins, stops,
                seen, sums, counts, squares,
            )  # fmt: skip
            if num_edges & 1:
                edges[0] = edges[num_edges - 1]
            num_edges &= 1
            continue
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
                    kept[num_kept] = np.int32(_EOS_HASH)
                    num_kept += 1
                    ids[num_ids] = tables.eos
                    num_ids += tables.eos >= 0
                if parts & WORDS:
                    sum_rows(ids, num_ids, rows, mode, sums[target], hidden[target])
                    counts[target] += num_ids
                if stops[target] - begins[target] > LONG:
                    squares[target] += _count_repeats(kept[held:num_kept], seen)
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
        if num_edges & 1:  # a word is open: it goes to the next block
            edges[0] = edges[num_edges - 1]
        num_edges &= 1
