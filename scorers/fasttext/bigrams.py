"""The short way for the usual classifier: words and bigrams, one number per feature, nothing special in the block.

    missed = look_up(...)         # frequent words: parts and score from a table in the cache
    hash_missed(...)              # the other words: hash, parts, and a request for their place in the dictionary
    pair_rows(...)                # rows of the bigrams, and a request for their numbers
    find_missed(...)              # scores of the other words
    held = sum_block(...)         # everything, by document

Only rare words are hashed: a frequent one has its parts (see grams.py) and its score in the front table. A block with
something special (see ``is_special``; or a hash next to zero) is left to the general way, which begins with the edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scorers.fasttext.grams import is_small, pair_bucket, word_parts
from scorers.fasttext.intrinsics import LANES, hash_lanes, load_u64, prefetch
from scorers.fasttext.vocabulary import (
    FNV_OFFSET,
    find_candidate,
    find_word,
    first_eight,
    front_place,
    hash_bytes,
    is_special,
    is_word_at,
    rest_at,
)
from scorers.jit import kernel

FEW = 60  # words: fewer cannot repeat so much that classifier.py repeats the float32 sums
MANY = 512  # words: of more, repeats are counted without looking first whether there are many
AHEAD = np.uint64(64)
LONG = 2 * FEW  # documents above LONG bytes have their repeats counted
EOS_HASH = np.uint32(3617362777)
_0, _1, _2, _3 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_31, _32 = np.uint64(31), np.uint64(32)
# Bytes 0..8 and 8..16 of a word by its length; above 16 nothing is left, which no frequent word is equal to.
_MASKS = np.array(
    [(1 << 8 * min(max(n - first, 0), 8)) - 1 if n < 17 else 0 for n in range(18) for first in (0, 8)], np.uint64
)


@kernel
def look_up(data, count, tables, edges, parts, scores, missed, heads, tails, places):
    """Parts and score of each frequent word; lists the others and returns how many.

    In runs of ``AHEAD`` words, whose places are asked for before the first is read: the table shares its cache with
    all that passes through, so that a word of middling frequency is often gone from it.
    """
    num_missed: Any = _0
    front_scores = tables.front.view(np.float32)
    inside = count
    while inside > 0 and edges[2 * inside - 2] + 16 > len(data):
        inside -= 1
    for begin in range(np.uint64(0), np.uint64(inside), AHEAD):
        end = min(begin + AHEAD, np.uint64(inside))
        for u in range(begin, end):
            start = edges[u + u]
            known = np.uint64(min(edges[u + u + _1] - start, 17))
            head = load_u64(data, start) & _MASKS[known + known]
            tail = load_u64(data, start + 8) & _MASKS[known + known + _1]
            at = front_place(head, tail)
            prefetch(tables.front, np.int64(at))
            heads[u], tails[u], places[u] = head, tail, at
        for u in range(begin, end):
            at = np.uint64(places[u])
            differs = (tables.front[at] ^ heads[u]) | (tables.front[at + _1] ^ tails[u])
            parts[u] = tables.front[at + _2]
            scores[u] = front_scores[at + at + np.uint64(7)]
            missed[num_missed] = u
            num_missed += np.uint64(differs != 0)
    for u in range(np.uint64(inside), np.uint64(count)):
        missed[num_missed] = u
        num_missed += _1
    return num_missed


@kernel
def hash_missed(data, num_missed, tables, edges, parts, missed, longs, heads, tails, lengths, hashes):
    """Hashes and parts of the listed words: (how many are longer than 16 bytes, whether the block is special)."""
    special = False
    num_longs: Any = _0
    for k in range(num_missed):
        word = np.uint64(missed[k])
        start = edges[word + word]
        length = edges[word + word + _1] - start
        if start + 16 <= len(data):
            known = np.uint64(min(length, 16))
            head = load_u64(data, start) & _MASKS[known + known]
            tail = load_u64(data, start + 8) & _MASKS[known + known + _1]
        else:
            head = first_eight(data, start, start + length)
            tail = first_eight(data, start + 8, start + length) if length > 8 else _0
        special |= is_special(head)
        heads[k], tails[k] = head, tail
        lengths[k] = min(length, 17)
        longs[num_longs] = k
        num_longs += np.uint64(length > 16)
    behind = np.int64(num_missed + np.uint64(LANES - 1)) & ~(LANES - 1)
    hashes[:behind] = FNV_OFFSET
    for k in range(np.int64(0), behind, LANES):
        hash_lanes(heads, tails, lengths, hashes, k)
    for i in range(num_longs):  # their next 16 bytes, side by side too, behind all the others
        k = longs[i]
        start, stop = edges[2 * missed[k]] + 16, edges[2 * missed[k] + 1]
        heads[behind + i] = first_eight(data, start, stop)
        tails[behind + i] = first_eight(data, start + 8, stop) if stop - start > 8 else _0
        lengths[behind + i] = min(stop - start, 17)
        hashes[behind + i] = hashes[k]
    for i in range(np.int64(0), np.int64(num_longs), LANES):
        hash_lanes(heads, tails, lengths, hashes, behind + i)
    for i in range(num_longs):
        k, value = longs[i], hashes[behind + i]
        if lengths[behind + i] > 16:
            word = missed[k]
            value = hash_bytes(data, edges[2 * word] + 32, edges[2 * word + 1], np.uint64(value))
        hashes[k] = value
    mask = np.uint64(len(tables.slots) // 4 - 1)
    bucket = np.uint64(tables.bucket)
    for k in range(num_missed):
        special |= is_small(hashes[k])
        parts[np.uint64(missed[k])] = word_parts(hashes[k], bucket, tables.inverse)
        prefetch(tables.slots, np.int64((np.uint64(hashes[k]) & mask) << _2))
    return num_longs, special


@kernel
def pair_rows(count, num_docs, tables, table, ends, parts, ids):
    """Rows of the bigrams that begin at each word, and a request for their numbers.

    The word after the last word of a document is </s>; after the last word of the block it is not known yet, and
    what is written there is not read.
    """
    bucket, words = np.uint32(tables.bucket), np.uint32(tables.num_words)
    for begin in range(np.uint64(0), np.uint64(count), np.uint64(16)):
        for u in range(begin, begin + np.uint64(16)):
            total = np.uint32(parts[u] >> _32) + np.uint32(parts[u + _1])
            ids[u] = min(np.uint32(total), np.uint32(total - bucket)) + words
        for u in range(begin, begin + np.uint64(16)):
            prefetch(table, np.int64(ids[u]))
    eos = np.uint32(word_parts(EOS_HASH, np.uint64(tables.bucket), tables.inverse))
    for i in range(num_docs):
        if ends[i] > 0:
            total = np.uint32(parts[ends[i] - 1] >> _32) + eos
            ids[ends[i] - 1] = min(np.uint32(total), np.uint32(total - bucket)) + words
            prefetch(table, np.int64(ids[ends[i] - 1]))


@kernel
def find_missed(
    data, num_missed, num_longs, tables, table, edges, scores, missed, longs, heads, tails, lengths, hashes, places
):  # fmt: skip
    """Scores of the listed words; places[k] becomes -1 for an unknown one."""
    slot_scores = tables.slots.view(np.float32)
    for k in range(num_missed):
        place = find_candidate(tables.slots, heads[k], tails[k], np.uint64(hashes[k]), lengths[k] > 16)
        places[k] = place
        scores[np.uint64(missed[k])] = slot_scores[2 * place + 7] if place >= 0 else np.float32(0)
    for i in range(num_longs):
        place = places[longs[i]]
        if place >= 0:
            prefetch(tables.rests, rest_at(tables.slots, place))
    for i in range(num_longs):
        k = longs[i]
        word = missed[k]
        start, stop = edges[2 * word], edges[2 * word + 1]
        if places[k] >= 0 and not is_word_at(tables.slots, places[k], tables.rests, data, start, stop):
            row = find_word(tables.slots, tables.rests, np.uint64(hashes[k]), data, start, stop)
            places[k] = row
            scores[word] = table[row] if row >= 0 else np.float32(0)


@kernel
def count_repeats(values, seen):
    """Growth of the sum of squared frequencies; values share a counter where their low bits agree."""
    growth = 0
    mask = np.uint32(len(seen) - 1)
    for value in values:
        place = np.uint32(value) & mask
        growth += 2 * seen[place] + 1
        seen[place] += 1
    return growth


@kernel
def _seems_repeated(values, seen):
    """Whether some words may make up much of a document; in most natural text none does.

    Looks at every 7th and every 11th word, so that no table of few columns shows it one column only.
    """
    return 2 * (count_repeats(values[::7], seen) + count_repeats(values[::11], seen)) > len(values)


@kernel
def _sum_segment(scores, ids, start, last, stop, table):
    """Sum of scores[start:stop] and table[ids[start:last]], in float64 and side by side."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    u, whole = np.uint64(start), np.uint64(start + ((last - start) & ~1))
    while u < whole:
        a += scores[u]
        b += table[np.uint64(ids[u])]
        c += scores[u + _1]
        d += table[np.uint64(ids[u + _1])]
        u += _2
    for i in range(np.int64(whole), last):
        b += table[np.uint64(ids[i])]
    for i in range(np.int64(whole), stop):
        a += scores[i]
    return (a + b) + (c + d)


@kernel
def sum_block(
    data, first, num_docs, num, count, num_missed, tables, table, edges, ends, parts, scores, ids, missed, places,
    held, kept, begins, stops, seen, sums, counts, squares,
):  # fmt: skip
    """Add up a block by document; returns the number of hashes held for the next block (0 or 1), kept[0]."""
    bucket = np.uint64(tables.bucket)
    start, k = 0, _0
    for segment in range(num_docs + (first + num_docs < num)):
        target = first + segment
        ended = segment < num_docs
        stop = ends[segment] if ended else count
        if not ended and stop == start and held == 0:
            break
        last = stop if ended else max(stop - 1, start)  # pairs that are complete
        total = _sum_segment(scores, ids, start, last, stop, table)
        features = last - start + stop - start
        while k < num_missed and missed[k] < stop:
            features -= places[k] < 0
            k += _1
        across = held > 0 or not ended
        if held > 0 and (stop > start or ended):
            following: Any = EOS_HASH
            if stop > start:
                following = np.uint32(hash_bytes(data, edges[2 * start], edges[2 * start + 1], FNV_OFFSET))
            total += table[tables.num_words + np.int64(pair_bucket(kept[0], following, bucket, tables.inverse))]
            features += 1
        if ended and tables.eos >= 0:
            total += table[tables.eos]
            features += 1
        sums[target, 0] += total
        counts[target] += features
        # a document that lies within the block has few words or, as a rule, few repeats: then they are not counted
        if (across or stop - start > FEW) and stops[target] - begins[target] > LONG:
            counted = across or stop - start > MANY
            if not counted:
                counted = _seems_repeated(parts[start:stop], seen)
                seen[:] = 0
            if counted:
                squares[target] += count_repeats(parts[start:stop], seen)
                if ended:
                    seen[:] = 0
        if ended:
            held = 0
        elif stop > start:
            kept[0] = np.int32(hash_bytes(data, edges[2 * stop - 2], edges[2 * stop - 1], FNV_OFFSET))
            held = 1
        start = stop
    return held
