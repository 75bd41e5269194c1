"""Repeated n-grams of words, n = 2..10, and loops of words, exactly and in linear time.

An n-gram is named by a number: an (n-1)-gram's number and one more word give the number of the n-gram, so that equal
numbers mean equal words and no hash can collide. Only where a repeated (n-1)-gram starts, with another one right
after it, can a repeated n-gram start: on most texts the work is over after n = 3. The first continuation of an
(n-1)-gram is compared in place; only others go through the hash table, so long copies are read in order.

For each n, in characters of words (white space counts nowhere):

- cover: share of the text inside an n-gram that occurs at least twice, every character counted once;
- cover_later: the same without the first occurrence of each n-gram;
- top_cover: share inside the most frequent n-gram alone; 0 if none occurs twice. Of several, the one with most
  characters; of several again, the one that comes first;
- excess: later occurrences / all n-grams, by count: 1 - distinct / all, the rep-n of the degeneration literature.
"""

from __future__ import annotations

import numpy as np

from scorers.bits import inlined, pointer
from scorers.jit import kernel
from scorers.repetition.tables import FIB, slot_bits, table_for
from scorers.words import Words

MIN_N, MAX_N = 2, 10
METRICS = ("cover", "cover_later", "top_cover", "excess")


def measure_ngrams(words: Words, ids: np.ndarray) -> np.ndarray:
    """float32 of shape (9 * 4, documents), n outer and METRICS inner; NaN where a document has fewer than n words."""
    longest = int(np.diff(words.doc_offsets).max(initial=0))
    out = np.empty(((MAX_N - MIN_N + 1) * len(METRICS), len(words.doc_offsets) - 1), np.float32)
    scratch = np.empty((6, longest + 1), np.int32)
    table = table_for(longest)
    sieve, before = np.empty(4 * len(table), np.uint8), np.empty(longest + 1, np.int64)
    _ngrams(words.doc_offsets, words.chars, ids, table, sieve, before, scratch, out)
    return out


@inlined
def _slot(key, bits):
    """The slot where an n-gram's key belongs."""
    key = (key ^ (key >> np.uint64(32))) * FIB
    return np.int64(key >> np.uint64(64 - bits))


@inlined
def _maybe_repeated(at, gram, word, n, candidates, sieve, keys):
    """Drop most candidates whose n-gram occurs once, none that occurs twice; how many are left.

    Each n-gram has one byte of a sieve; a byte met once only tells of an n-gram that is alone. No branch hangs on the
    text: this is why it pays.
    """
    bits = slot_bits(candidates) + 2
    for slot in range(1 << bits):
        sieve[slot] = 0
    for k in range(candidates):
        i = at[k]
        slot = _slot(np.uint64(gram[i]) << np.uint64(32) | np.uint64(word[i + n - 1]), bits)
        keys[k] = slot
        sieve[slot] = sieve[slot] << 1 | 1
    left = 0
    for k in range(candidates):
        at[left] = at[k]
        left += sieve[keys[k]] > 1
    return left


@kernel
def _ngrams(doc_offsets, chars, ids, table, sieve_bytes, before, scratch, out):
    generation = np.int64(0)
    sieve = pointer(sieve_bytes)
    slots, chars_before = pointer(table), pointer(before)  # the characters before each word of the document
    at = pointer(scratch[0])  # where candidates start, in order
    gram = pointer(scratch[1])  # by position, the number of the n-gram there
    # By number of an n-gram: its first position for this n and the last, how often it occurs, its (n-1)-gram's number.
    old, new, count, parent = pointer(scratch[2]), pointer(scratch[3]), pointer(scratch[4]), pointer(scratch[5])
    for doc in range(len(doc_offsets) - 1):
        begin, end = doc_offsets[doc], doc_offsets[doc + 1]
        size = end - begin
        word = pointer(ids[begin:end])
        total = np.int64(0)
        num = 0
        for i in range(size):
            chars_before[i] = total
            total += chars[begin + i]
            number = word[i]
            gram[i] = number
            if number == num:
                old[num] = i
                count[num] = 1
                num += 1
            else:
                count[number] += 1
        chars_before[size] = total
        num_words = np.int64(num)
        kept = 0
        if num < size:
            for i in range(size):
                at[kept] = i
                kept += count[word[i]] > 1
        for n in range(2, 11):
            row = (n - 2) * 4
            if size < n:
                for k in range(4):
                    out[row + k, doc] = np.nan
                continue
            # Candidates: a repeated (n-1)-gram starts here and another one at the next word.
            candidates = 0
            for k in range(kept - 1):
                at[candidates] = at[k]
                candidates += at[k + 1] == at[k] + 1
            if candidates < 2:
                candidates = 0
            distinct = num
            num = 0
            if candidates > 1 and distinct * num_words <= 2 * candidates:
                # Few words: a number for every (n-1)-gram and word there could be, no search and nothing to compare.
                generation += 1
                stamp = generation << 32
                for k in range(candidates):
                    i = at[k]
                    slot = np.int64(gram[i]) * num_words + word[i + n - 1]
                    entry = slots[slot]
                    if entry < stamp:
                        number = num
                        slots[slot] = stamp | num
                        new[num] = i
                        count[num] = 1
                        num += 1
                    else:
                        number = np.int32(entry & 0xFFFFFFFF)
                        count[number] += 1
                    gram[i] = number
            elif candidates > 1:
                candidates = _maybe_repeated(at, gram, word, n, candidates, sieve, parent)
                generation += 1
                stamp = generation << 32
                bits = slot_bits(candidates)
                mask = (1 << bits) - 1
                for k in range(candidates):
                    i = at[k]
                    shorter = gram[i]
                    model = old[shorter]
                    added = word[i + n - 1]
                    if model == i:
                        number = num
                    elif added == word[model + n - 1]:
                        number = gram[model]
                    else:
                        slot = _slot(np.uint64(shorter) << np.uint64(32) | np.uint64(added), bits)
                        while True:
                            entry = slots[slot]
                            if entry < stamp:
                                number = num
                                slots[slot] = stamp | num
                                break
                            number = np.int32(entry & 0xFFFFFFFF)
                            if parent[number] == shorter and word[new[number] + n - 1] == added:
                                break
                            slot = (slot + 1) & mask
                    if number == num:
                        parent[num] = shorter
                        new[num] = i
                        count[num] = 1
                        num += 1
                    else:
                        count[number] += 1
                    gram[i] = number
            # Keep those that occur twice, and add up what they cover.
            kept = 0
            distinct = 0
            cover = later = np.int64(0)
            covered = later_covered = 0  # words before this position are counted
            if num < candidates:
                top = np.int32(0)
                top_size = np.int64(0)
                for number in range(num):
                    if count[number] > 1:
                        distinct += 1
                        if count[number] >= count[top]:
                            long = chars_before[new[number] + n] - chars_before[new[number]]
                            if count[number] > count[top] or long > top_size:
                                top, top_size = np.int32(number), long
                top_cover = np.int64(0)
                top_covered = 0
                for k in range(candidates):
                    i = at[k]
                    number = gram[i]
                    if count[number] < 2:
                        continue
                    at[kept] = i
                    kept += 1
                    stop = chars_before[i + n]
                    cover += stop - chars_before[max(i, covered)]
                    covered = i + n
                    if new[number] != i:
                        later += stop - chars_before[max(i, later_covered)]
                        later_covered = i + n
                    if number == top:
                        top_cover += stop - chars_before[max(i, top_covered)]
                        top_covered = i + n
                out[row, doc] = cover / total
                out[row + 1, doc] = later / total
                out[row + 2, doc] = top_cover / total
                out[row + 3, doc] = (kept - distinct) / (size - n + 1)
            else:
                for k in range(4):
                    out[row + k, doc] = 0.0
            old, new = new, old
