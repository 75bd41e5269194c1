"""Repeated lines, paragraphs and sentences, exactly and in linear time.

Two units are equal if their texts are equal once every run of white space has become one space; case and punctuation
count. They are compared word by word; hashes only lead there. Characters of a unit are those of its stripped text as
it stands, white space inside included.

- excess: later copies / units; mass: all copies of units that occur at least twice / units;
- excess_chars, mass_chars: the same, each unit weighing its characters.

Sentences also get: consecutive, how many equal the sentence before them; sents, how many there are; longest_run, the
most equal sentences in a row (1: none repeats; 0: no sentence). Over a corpus
``sum(rep_sent_consecutive) / sum(greatest(rep_sents - 1, 0))`` is the rate of consecutive repetition, with
``sum(rep_sents)`` below it the variant that counts first sentences too.
"""

from __future__ import annotations

import numpy as np

from scorers.bits import inlined, pointer, read_only
from scorers.jit import kernel
from scorers.repetition.tables import slot_bits, table_for
from scorers.words import Words, mix

UNITS = ("line", "para", "sent")  # in the order of the bits LINE, PARAGRAPH, SENTENCE
METRICS = ("excess", "mass", "excess_chars", "mass_chars")

_TIMES = np.uint64(0xD1342543DE82EF95)


def measure_units(
    data: np.ndarray, offsets: np.ndarray, words: Words, ids: np.ndarray, flags: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shares and counts, from the words' numbers (tables.number_words) and the ends of units (sentences.unit_ends).

    Returns float32 of shape (3 * 4, documents), UNITS outer and METRICS inner, NaN where a document has no unit; and
    int32 of shape (3, documents): consecutive, sents, longest_run.
    """
    num = len(words.doc_offsets) - 1
    longest = int(np.diff(words.doc_offsets).max(initial=0))
    shares = np.empty((len(UNITS) * len(METRICS), num), np.float32)
    counts = np.empty((3, num), np.int32)
    by_unit, by_number = np.empty((3, 3, longest), np.int32), np.empty((2, longest), np.int32)
    _units(
        read_only(data),
        read_only(offsets),
        words.doc_offsets,
        words.starts,
        words.ends,
        words.chars,
        ids,
        flags,
        table_for(longest),
        np.empty((3, longest), np.uint64),
        by_unit,
        by_number,
        shares,
        counts,
    )
    return shares, counts


@inlined
def _same_words(word, starts, ends, base, a, b, size):
    """Whether words a.. and b.. of a document are equal, and have white space between them at the same places."""
    for k in range(size):
        if word[a + k] != word[b + k]:
            return False
        if k and (starts[base + a + k] == ends[base + a + k - 1]) != (starts[base + b + k] == ends[base + b + k - 1]):
            return False
    return True


@kernel
def _units(
    data, offsets, doc_offsets, starts, ends, chars, ids, flags, table, hashes, by_unit, by_number, shares, counts
):
    text, slots = pointer(data), pointer(table)
    opened, sizes, weights = by_unit[0], by_unit[1], by_unit[2]  # by unit: its first word, its words, its characters
    first, count = pointer(by_number[0]), pointer(by_number[1])  # by number of a distinct unit: the first, how many
    start_of, end_of = pointer(starts), pointer(ends)
    generation = np.int64(0)
    opened_at, hash_of, begun = np.zeros(3, np.int64), np.zeros(3, np.uint64), np.zeros(3, np.int64)
    nums = np.zeros(3, np.int64)
    for doc in range(len(doc_offsets) - 1):
        base, begin, end = offsets[doc], doc_offsets[doc], doc_offsets[doc + 1]
        word = pointer(ids[begin:end])
        # One walk over the words cuts all three kinds. `position` counts characters, white space between included.
        position = np.int64(0)
        gap = np.uint64(0)
        line_hash = para_hash = sent_hash = np.uint64(0)
        for kind in range(3):
            nums[kind] = opened_at[kind] = begun[kind] = 0
        for i in range(end - begin):
            # A space before the word is part of what makes a unit, but not before its first word: the start of a unit
            # subtracts it in advance.
            item = (np.uint64(word[i]) << np.uint64(1)) + gap
            line_hash = (line_hash + item) * _TIMES
            para_hash = (para_hash + item) * _TIMES
            sent_hash = (sent_hash + item) * _TIMES
            position += chars[begin + i]
            mark = flags[begin + i]
            stop = position
            gap = np.uint64(0)
            if begin + i + 1 < end:
                here, there = base + end_of[begin + i], base + start_of[begin + i + 1]
                if there == here + 1:
                    position += 1
                    gap = np.uint64(1)
                elif there > here:
                    gap = np.uint64(1)
                    for k in range(here, there):
                        position += (text[k] & 0xC0) != 0x80
            if mark:
                hash_of[0], hash_of[1], hash_of[2] = line_hash, para_hash, sent_hash
                for kind in range(3):
                    if mark >> kind & 1:
                        unit = nums[kind]
                        opened[kind, unit] = opened_at[kind]
                        sizes[kind, unit] = i + 1 - opened_at[kind]
                        weights[kind, unit] = stop - begun[kind]
                        hashes[kind, unit] = hash_of[kind]
                        nums[kind] = unit + 1
                        opened_at[kind] = i + 1
                        begun[kind] = position
                        hash_of[kind] = np.uint64(0) - gap
                line_hash, para_hash, sent_hash = hash_of[0], hash_of[1], hash_of[2]
        for kind in range(3):
            num = nums[kind]
            row = 4 * kind
            consecutive = 0
            longest_run = run = np.int64(min(num, 1))
            later = later_chars = all_copies = all_chars = total = np.int64(0)
            if num > 1:
                generation += 1
                stamp = generation << 32
                mask = (1 << slot_bits(num)) - 1
                distinct = np.int64(0)
                previous = np.int64(-1)
                for unit in range(num):
                    size, weight = sizes[kind, unit], weights[kind, unit]
                    total += weight
                    slot = np.int64(mix(hashes[kind, unit])) & mask
                    while True:
                        entry = slots[slot]
                        if entry < stamp:
                            number = distinct
                            slots[slot] = stamp | number
                            first[number] = unit
                            count[number] = 1
                            distinct += 1
                            break
                        number = entry & 0xFFFFFFFF
                        other = first[number]
                        if (
                            hashes[kind, other] == hashes[kind, unit]
                            and sizes[kind, other] == size
                            and _same_words(
                                word, start_of, end_of, begin, opened[kind, other], opened[kind, unit], size
                            )
                        ):
                            count[number] += 1
                            if count[number] == 2:
                                all_chars += weights[kind, other]
                                all_copies += 1
                            all_chars += weight
                            all_copies += 1
                            later += 1
                            later_chars += weight
                            break
                        slot = (slot + 1) & mask
                    if number == previous:
                        consecutive += 1
                        run += 1
                        longest_run = max(longest_run, run)
                    else:
                        run = np.int64(1)
                    previous = number
            if num == 0:
                for k in range(4):
                    shares[row + k, doc] = np.nan
            elif later == 0:
                for k in range(4):
                    shares[row + k, doc] = 0.0
            else:
                shares[row, doc] = later / num
                shares[row + 1, doc] = all_copies / num
                shares[row + 2, doc] = later_chars / total
                shares[row + 3, doc] = all_chars / total
            if kind == 2:
                counts[0, doc] = consecutive
                counts[1, doc] = num
                counts[2, doc] = longest_run
