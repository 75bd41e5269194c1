"""Loops of words: a stretch that repeats itself at once, with a period of 1 to 13 words, at least two whole copies.

From the end of the first copy to the end of the stretch every word equals the word one period earlier; a last copy
that is cut short belongs to the stretch. The loop of a document is the one with most characters; of several, the one
with the smallest period ("a a a a" has period 1, not 2); of several, the first. One pass, 13 counters, no hashing.
"""

from __future__ import annotations

import numpy as np

from scorers.bits import pointer
from scorers.jit import kernel
from scorers.words import Words

MAX_PERIOD = 13


def measure_loops(words: Words, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loop of each document, from the words' numbers (tables.number_words).

    Period (int32; 0: no loop), whole copies (int32; 1: no loop, 0: no word), and the loop's share of the characters of
    all words (float32; 0: no loop, NaN: no word).
    """
    num = len(words.doc_offsets) - 1
    longest = int(np.diff(words.doc_offsets).max(initial=0))
    period, copies, share = np.empty(num, np.int32), np.empty(num, np.int32), np.empty(num, np.float32)
    seen, before = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.int64)
    _loops(words.doc_offsets, words.chars, ids, seen, before, period, copies, share)
    return period, copies, share


@kernel
def _loops(doc_offsets, chars, ids, seen, before, period, copies, share):
    """run[p] says how many words, up to this one, equal the word p earlier."""
    run_of = np.zeros(MAX_PERIOD + 1, np.int32)
    run, last_seen, chars_before = pointer(run_of), pointer(seen), pointer(before)
    for doc in range(len(doc_offsets) - 1):
        begin, end = doc_offsets[doc], doc_offsets[doc + 1]
        word, width = pointer(ids[begin:end]), pointer(chars[begin:end])
        num = 0
        best = total = np.int64(0)
        best_period, best_copies = 0, 1
        running = False
        for i in range(end - begin):
            number = word[i]
            chars_before[i] = total
            total += width[i]
            near = False  # the same word is among the last 13: otherwise every run ends here
            if number == num:
                num += 1
            else:
                near = i - last_seen[number] <= MAX_PERIOD
            last_seen[number] = i
            if not near:
                if running:
                    for p in range(1, MAX_PERIOD + 1):
                        run[p] = 0
                    running = False
                continue
            running = True
            for p in range(1, min(MAX_PERIOD, i) + 1):
                if word[i - p] != number:
                    run[p] = 0
                    continue
                length = run[p] + 1
                run[p] = length
                if length >= p:
                    size = total - chars_before[i - length - p + 1]
                    if size > best or (size == best and p < best_period):
                        best, best_period, best_copies = size, p, length // p + 1
        if running:
            for p in range(1, MAX_PERIOD + 1):
                run[p] = 0
        period[doc] = best_period
        copies[doc] = best_copies if total else 0
        share[doc] = best / total if total else np.nan
