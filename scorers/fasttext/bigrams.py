"""The short way for the usual classifier: words and bigrams, one number per feature, nothing special in the block.

    missed, ... = look_up(...)    # frequent words: parts and score from a table in the cache; requests for the others
    place_longs(...)              # words above 16 bytes: a request for their place in the dictionary
    find_missed(...)              # parts and scores of the others
    pair_rows(...)                # rows of the bigrams
    held = sum_words(...)         # all but the bigrams, by document
    sum_pairs(...)                # the bigrams, one block later

The table of the bigrams is larger than the cache that a core has to itself, and a request for memory is cheap only as
long as few are under way. So `look_up` of the next block asks for the numbers of a block's bigrams, a request a word
between its own work, and they are summed after it.

Only unknown words are hashed: any other has its parts (see grams.py) and its score in the dictionary. A block
with something special (see ``is_special``; or a hash next to zero) is left to the general way, which begins with the
edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scorers.fasttext.grams import is_small, pair_bucket, word_parts
from scorers.fasttext.intrinsics import load_u64, prefetch
from scorers.fasttext.rows import sum_scalars
from scorers.fasttext.vocabulary import (
    FNV_OFFSET,
    MASKS,
    find_candidate,
    find_place,
    first_eight,
    front_place,
    hash_bytes,
    is_small_at,
    is_special,
    is_word_at,
    mixed,
    mixed_on,
    mixed_word,
    rest_at,
    slot_shift,
)
from scorers.jit import kernel

FEW = 60  # words: fewer cannot repeat so much that classifier.py repeats the float32 sums
MANY = 512  # words: of more, repeats are counted without looking first whether there are many
AHEAD = np.uint64(64)
LONG = 2 * FEW  # documents above LONG bytes have their repeats counted
EOS_HASH = np.uint32(3617362777)
_0, _1, _2, _3, _4 = (np.uint64(n) for n in range(5))
_32 = np.uint64(32)
_MASKS = np.concatenate([MASKS, np.zeros(2, np.uint64)])  # above 16 bytes: nothing, which no frequent word is equal to


@kernel
def look_up(
    data, count, tables, table, edges, parts, scores, missed, longs, heads, tails, lengths, places, waiting
):  # fmt: skip
    """Parts and score of each frequent word; lists the others and asks for their places in the dictionary.

    Of the k-th of these, heads, tails and lengths become its first 16 bytes and its length (17 for more), places[k] the
    number of the place where it is looked for first; ``longs`` lists those above 16 bytes. Returns (how many were
    missed, how many are long, whether one may be special). In runs of ``AHEAD`` words, whose places in the front
    table are asked for before the first is read: the table shares its cache with all that passes through, so that a
    word of middling frequency is often gone from it. Beside that, asks for the numbers of the rows ``waiting``.
    """
    num_missed: Any = _0
    num_longs: Any = _0
    special = False
    shift = slot_shift(tables.slots)
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
            mix = mixed(head, tail)
            prefetch(tables.front, np.int64(front_place(mix)))
            prefetch(table, np.int64(waiting[u]))
            heads[u], tails[u], places[u] = head, tail, np.int64(mix)
        first_missed = num_missed
        for u in range(begin, end):
            at = front_place(np.uint64(places[u]))
            differs = (tables.front[at] ^ heads[u]) | (tables.front[at + _1] ^ tails[u])
            parts[u] = tables.front[at + _2]
            scores[u] = front_scores[at + at + np.uint64(7)]
            missed[num_missed] = u
            num_missed += np.uint64(differs != 0)
        for k in range(first_missed, num_missed):  # never ahead of the word that is read
            word = np.uint64(missed[k])
            start = edges[word + word]
            length = edges[word + word + _1] - start
            head, tail, place = heads[word], tails[word], np.int64(np.uint64(places[word]) >> shift)
            if length > 16:
                head, tail = load_u64(data, start), load_u64(data, start + 8)
                longs[num_longs] = k
                num_longs += _1
            else:
                prefetch(tables.slots, place << 2)
            special |= is_special(head)
            heads[k], tails[k], places[k], lengths[k] = head, tail, place, min(length, 17)
    for u in range(np.uint64(inside), np.uint64(count)):
        start, stop = edges[u + u], edges[u + u + _1]
        head = first_eight(data, start, stop)
        tail = first_eight(data, start + 8, stop) if stop - start > 8 else _0
        special |= is_special(head)
        heads[num_missed], tails[num_missed], lengths[num_missed] = head, tail, min(stop - start, 17)
        places[num_missed] = np.int64(mixed(head, tail) >> shift)
        longs[num_longs] = num_missed
        num_longs += np.uint64(stop - start > 16)
        missed[num_missed] = u
        num_missed += _1
    return num_missed, num_longs, special


@kernel
def place_longs(data, num_longs, tables, edges, missed, longs, heads, tails, places):
    """The places of the listed words above 16 bytes, and a request for them."""
    shift = slot_shift(tables.slots)
    for i in range(num_longs):
        k = longs[i]
        word = np.uint64(missed[k])
        start, stop = edges[word + word], edges[word + word + _1]
        if stop <= start + 32 <= len(data):
            known = np.uint64(stop - start - 16)
            third, fourth = load_u64(data, start + 16), load_u64(data, start + 24)
            third, fourth = third & MASKS[known + known], fourth & MASKS[known + known + _1]
            mix = mixed_on(mixed(heads[k], tails[k]), third, fourth)
        else:
            mix = mixed_word(data, start, stop)
        places[k] = np.int64(mix >> shift)
        prefetch(tables.slots, places[k] << 2)


@kernel
def find_missed(
    data, num_missed, num_longs, tables, edges, parts, scores, missed, longs, heads, tails, lengths, places
):  # fmt: skip
    """Parts and scores of the listed words; places[k] becomes -1 for an unknown one. Returns whether one is special."""
    slot_scores = tables.slots.view(np.float32)
    special = False
    for k in range(num_missed):
        place = find_candidate(tables.slots, np.uint64(places[k]), heads[k], tails[k], lengths[k] > 16)
        places[k] = place
        if place >= 0:
            word = np.uint64(missed[k])
            parts[word], scores[word] = tables.slots[place + 2], slot_scores[2 * place + 7]
            special |= is_small_at(tables.slots, place)
    for i in range(num_longs):
        place = places[longs[i]]
        if place >= 0:
            prefetch(tables.rests, rest_at(tables.slots, place))
    for i in range(num_longs):
        k = longs[i]
        word = missed[k]
        start, stop = edges[2 * word], edges[2 * word + 1]
        if places[k] >= 0 and not is_word_at(tables.slots, places[k], tables.rests, data, start, stop):
            place = find_place(tables.slots, tables.rests, data, start, stop)
            places[k] = place
            if place >= 0:
                parts[word], scores[word] = tables.slots[place + 2], slot_scores[2 * place + 7]
                special |= is_small_at(tables.slots, place)
    for k in range(num_missed):  # unknown words: rare, since the model was made of such text
        if places[k] < 0:
            word = np.uint64(missed[k])
            value = np.uint32(hash_bytes(data, edges[word + word], edges[word + word + _1], FNV_OFFSET))
            parts[word], scores[word] = word_parts(value, np.uint64(tables.bucket), tables.inverse), np.float32(0)
            special |= is_small(value)
    return special


@kernel
def pair_rows(count, num_docs, tables, ends, parts, ids):
    """Rows of the bigrams that begin at each word.

    The word after the last word of a document is </s>; after the last word of the block it is not known yet, and
    what is written there is not read.
    """
    bucket, words = np.uint32(tables.bucket), np.uint32(tables.num_words)
    for u in range(np.uint64(count)):
        total = np.uint32(parts[u] >> _32) + np.uint32(parts[u + _1])
        ids[u] = min(np.uint32(total), np.uint32(total - bucket)) + words
    eos = np.uint32(word_parts(EOS_HASH, np.uint64(tables.bucket), tables.inverse))
    for i in range(num_docs):
        if ends[i] > 0:
            total = np.uint32(parts[ends[i] - 1] >> _32) + eos
            ids[ends[i] - 1] = min(np.uint32(total), np.uint32(total - bucket)) + words


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

    Looks at every 13th and every 17th word, so that no table of few columns shows it one column only. Of n words a
    few must be sqrt(60 / n), a third of MANY, to matter: then the sample's squares are 1.2 n, of natural text n / 4.
    """
    return 2 * (count_repeats(values[::13], seen) + count_repeats(values[::17], seen)) > len(values)


@kernel
def _sum_scores(scores, start, stop):
    """Sum of scores[start:stop], in float64 and side by side."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    u, whole = np.uint64(start), np.uint64(start + ((stop - start) & ~3))
    while u < whole:
        a += scores[u]
        b += scores[u + _1]
        c += scores[u + _2]
        d += scores[u + _3]
        u += _4
    for i in range(np.int64(whole), stop):
        a += scores[i]
    return (a + b) + (c + d)


@kernel
def sum_pairs(first, num_docs, more, count, table, ends, ids, sums):
    """Add table[ids] of a block by document. more: whether its last document goes on."""
    start = 0
    for segment in range(num_docs + more):
        stop = ends[segment] if segment < num_docs else max(count - 1, start)  # pairs that are complete
        sums[first + segment, 0] += sum_scalars(ids, start, stop, table)
        start = stop


@kernel
def sum_words(
    data, first, num_docs, num, count, num_missed, tables, table, edges, ends, parts, scores, missed, places,
    held, kept, begins, stops, seen, sums, counts, squares,
):  # fmt: skip
    """Add up a block by document, but for the bigrams within it, which are only counted; counts repeats.

    Returns the number of hashes held for the next block (0 or 1), kept[0].
    """
    bucket = np.uint64(tables.bucket)
    start, k = 0, _0
    for segment in range(num_docs + (first + num_docs < num)):
        target = first + segment
        ended = segment < num_docs
        stop = ends[segment] if ended else count
        if not ended and stop == start and held == 0:
            break
        last = stop if ended else max(stop - 1, start)  # pairs that are complete
        total = _sum_scores(scores, start, stop)
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
