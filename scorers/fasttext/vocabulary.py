"""The dictionary of a model as flat arrays: its strings, and a hash table that answers most look-ups in one cache line.

    strings, ... = scan_entries(...)                  # in the order of the file
    slots, rests = build_slots(strings, starts, ...)  # uint64 (4 * places,) and what does not fit there
    row = find_word(slots, rests, ...)                # inside a kernel

A place has four uint64: the word's first and second eight bytes (zero-padded; words hold no NUL, so that an empty place
has 0 first), what it gives to bigrams (its parts, see grams.py), then in 32 bits its row, or for a word above 16 bytes
where its rest begins in ``rests``, and two flags; in 32 more its folded score (float32, if the model has one number
per feature). A rest is the row and the length in bytes in one uint64, then the bytes, zero-padded to sixteens.

A word is looked for where its bytes say, sixteen to two multiplications: fastText's own hash of it, which costs a
multiplication a byte, is not made. One of at most 16 bytes is compared in full by the place itself, a longer one with
the rest too: equality is always of bytes.
"""

from __future__ import annotations

import numpy as np

from scorers.bits import inlined
from scorers.fasttext.grams import is_small, word_parts
from scorers.fasttext.intrinsics import count_ones, load_u64
from scorers.jit import kernel

FNV_OFFSET = np.uint64(2166136261)
FNV_PRIME = np.uint64(16777619)
FRONT = 1 << 14
EOS = np.uint64(int.from_bytes(b"</s>", "little"))
LABEL = np.uint64(int.from_bytes(b"__label_", "little"))
_LOW32 = np.uint64(0xFFFFFFFF)
_ZERO, _ONE, _TWO, _THREE, _EIGHT = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(8)
_32 = np.uint64(32)
# By n: the bytes of a word of n bytes among its first (2 * n) and second (2 * n + 1) eight.
MASKS = np.array([(1 << 8 * min(max(n - first, 0), 8)) - 1 for n in range(17) for first in (0, 8)], np.uint64)
_HEAD_MIX, _TAIL_MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_FRONT_SHIFT = np.uint64(64 - 14)
ROW = np.uint64((1 << 30) - 1)
_SMALL, LONG_WORD = np.uint64(1 << 30), np.uint64(1 << 31)


@kernel
def hash_bytes(data, start, stop, seed):
    """32-bit FNV-1a over data[start:stop] as fastText computes it: every byte sign-extended. Returns uint64."""
    value = seed
    for i in range(start, stop):
        value = ((value ^ np.uint64(np.int8(data[i]))) & _LOW32) * FNV_PRIME & _LOW32
    return value


@kernel
def first_eight(data, start, stop):
    """Bytes start..start + 8 as uint64, zero beyond ``stop``."""
    if start + 8 <= len(data):
        value = load_u64(data, start)
        if stop - start < 8:
            value &= (_ONE << (_EIGHT * np.uint64(stop - start))) - _ONE
        return value
    value = np.uint64(0)
    for i in range(min(stop, start + 8) - 1, start - 1, -1):
        value = value << _EIGHT | np.uint64(data[i])
    return value


@inlined
def is_special(head):
    """Whether a word with these first eight bytes may be ``</s>`` or a label."""
    return (head == EOS) | (head == LABEL)


@inlined
def mixed(head, tail):
    """What the places of a word of these 16 bytes are made of, here and in the front table: the upper bits."""
    return (head ^ tail * _TAIL_MIX) * _HEAD_MIX


@inlined
def mixed_on(mix, head, tail):
    """The same of a word with 16 bytes more, ``mix`` being that of all before."""
    return mixed(mix ^ mix >> _32 ^ head, tail)


@kernel
def mixed_word(data, start, stop):
    """The same of data[start:stop], of any length."""
    mix = _ZERO
    for i in range(start, stop, 16):
        head = first_eight(data, i, stop)
        tail = first_eight(data, i + 8, stop) if stop - i > 8 else _ZERO
        mix = mixed_on(mix, head, tail)
    return mix


@kernel
def find_candidate(slots, at, head, tail, long):
    """Place in ``slots`` of the first word from number ``at`` on with these 16 bytes and length class, or -1.

    That is the word itself unless it is ``long`` (above 16 bytes): then the rest must be compared.
    """
    mask = np.uint64(len(slots) // 4 - 1)
    flag = LONG_WORD if long else _ZERO
    while True:
        place = at << _TWO
        first = slots[place]
        if (first ^ head) | (slots[place + _ONE] ^ tail) | (slots[place + _THREE] & LONG_WORD ^ flag) == 0:
            return np.int64(place)
        if first == 0:
            return np.int64(-1)
        at = (at + _ONE) & mask


@inlined
def is_small_at(slots, place):
    """Whether the parts of the word at a place must not be added (see ``is_small``)."""
    return slots[place + 3] & _SMALL != 0


@kernel
def row_at(slots, rests, place):
    """Row of the word at a place."""
    last = slots[place + 3]
    if last & LONG_WORD != 0:
        return np.int64(rests[last & ROW] >> _32)
    return np.int64(last & ROW)


@kernel
def rest_at(slots, place):
    """Where the rest of the long word at a place begins."""
    return np.int64(slots[place + 3] & ROW)


@kernel
def is_word_at(slots, place, rests, data, start, stop):
    """Whether the long word at this place is data[start:stop], whose first 16 bytes are known to agree."""
    at, begin = np.uint64(rest_at(slots, place)), start + 16
    size = np.uint64(stop - begin)
    if rests[at] & _LOW32 != size:
        return False
    if stop <= start + 32 <= len(data):
        head, tail = load_u64(data, begin) & MASKS[size + size], load_u64(data, begin + 8) & MASKS[size + size + _ONE]
        return (rests[at + _ONE] ^ head) | (rests[at + _TWO] ^ tail) == 0
    for i in range(begin, stop, 8):
        at += _ONE
        if rests[at] != first_eight(data, i, stop):
            return False
    return True


@inlined
def slot_shift(slots):
    """By how many bits a mixed word is shifted to the number of its first place."""
    return np.uint64(64) - count_ones(np.uint64(len(slots) // 4 - 1))


@kernel
def find_place(slots, rests, data, start, stop):
    """Place of data[start:stop] or -1: the plain search, for any word."""
    head = first_eight(data, start, stop)
    tail = first_eight(data, start + 8, stop) if stop - start > 8 else np.uint64(0)
    long = stop - start > 16
    mask = np.uint64(len(slots) // 4 - 1)
    at = mixed_word(data, start, stop) >> slot_shift(slots)
    while True:
        place = find_candidate(slots, at, head, tail, long)
        if place < 0 or not long or is_word_at(slots, place, rests, data, start, stop):
            return place
        at = (np.uint64(place >> 2) + _ONE) & mask


@kernel
def find_word(slots, rests, data, start, stop):
    """Row of data[start:stop], or -1; see find_place."""
    place = find_place(slots, rests, data, start, stop)
    return row_at(slots, rests, place) if place >= 0 else np.int64(-1)


@kernel
def _fill_slots(slots, rests, strings, starts, scores, bucket, inverse):
    mask = np.uint64(len(slots) // 4 - 1)
    end = 0
    for row in range(len(starts) - 1):
        start, stop = starts[row], starts[row + 1]
        value = hash_bytes(strings, start, stop, FNV_OFFSET)
        head = first_eight(strings, start, stop)
        tail = first_eight(strings, start + 8, stop) if stop - start > 8 else _ZERO
        long = stop - start > 16
        place = find_place(slots, rests, strings, start, stop)  # a repeated word: the last one counts
        if place < 0:
            at = mixed_word(strings, start, stop) >> slot_shift(slots)
            while slots[at << _TWO] != 0:
                at = (at + _ONE) & mask
            place = np.int64(at << _TWO)
        last = np.uint64(end) | LONG_WORD if long else np.uint64(row)
        last |= _SMALL if is_small(value) else _ZERO
        slots[place] = head
        slots[place + 1] = tail
        slots[place + 2] = word_parts(value, bucket, inverse)
        slots[place + 3] = last | (np.uint64(scores[row]) << _32 if row < len(scores) else _ZERO)
        if long:
            rests[end] = np.uint64(row) << _32 | np.uint64(stop - start - 16)
            end += 1
            for i in range(start + 16, stop, 16):
                rests[end] = first_eight(strings, i, stop)
                rests[end + 1] = first_eight(strings, i + 8, stop) if stop - i > 8 else _ZERO
                end += 2


def _aligned(size: int) -> np.ndarray:
    """Zeroed uint64 that begin on a cache line."""
    memory = np.zeros(size + 8, np.uint64)
    first = -memory.ctypes.data // 8 % 8
    return memory[first : first + size]


def build_slots(
    strings: np.ndarray, starts: np.ndarray, scores: np.ndarray, bucket: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hash table of the words ``strings[starts[i]:starts[i + 1]]``, at most two thirds full, and their rests.

    scores: float32, one per word, or none. bucket: at least 1. ValueError for strings of 4 GiB.
    """
    if len(strings) > _LOW32 or len(starts) - 1 > ROW:
        raise ValueError(
            f"a vocabulary of {len(strings)} bytes, {len(starts) - 1} words; 4 GiB and 2**30 are the limit"
        )
    places = max(16, 1 << (3 * (len(starts) - 1) // 2).bit_length())
    lengths = np.diff(starts)
    lengths = lengths[lengths > 16]
    slots, rests = _aligned(4 * places), np.zeros(int((1 + (lengths - 1) // 16 * 2).sum()), np.uint64)
    inverse = np.uint64((2**64 - 1) // bucket)
    _fill_slots(slots, rests, strings, starts, scores.view(np.uint32), np.uint64(bucket), inverse)
    return slots, rests


@inlined
def front_place(mix):
    """Where the front table has the word of this mix, if at all."""
    return (mix >> _FRONT_SHIFT) << _TWO


@kernel
def _fill_front(front, slots, strings, starts, num_words):
    front[1::4] = _ONE  # in an empty place the word of the bytes 0 and 1, which is none
    shift = slot_shift(slots)
    for row in range(min(num_words, 2 * FRONT)):
        start, stop = starts[row], starts[row + 1]
        head = first_eight(strings, start, stop)
        tail = first_eight(strings, start + 8, stop) if stop - start > 8 else _ZERO
        mix = mixed(head, tail)
        place = front_place(mix)
        if front[place] != 0 or stop - start > 16 or is_special(head):
            continue
        at = find_candidate(slots, mix >> shift, head, tail, False)
        if is_small_at(slots, at):
            continue
        front[place] = head
        front[place + _ONE] = tail
        front[place + _TWO] = slots[at + 2]
        front[place + _THREE] = slots[at + 3]


def build_front(slots: np.ndarray, strings: np.ndarray, starts: np.ndarray, num_words: int) -> np.ndarray:
    """The most frequent words again, in a table without collisions that stays in the processor's cache.

    A place (four uint64) holds the most frequent word of at most 16 bytes that falls on it, as ``slots`` does. Files
    list words by falling frequency.
    """
    front = _aligned(4 * FRONT)
    _fill_front(front, slots, strings, starts, num_words)
    return front


@kernel
def _scan(data, at, words, starts, counts):
    total = np.int64(0)
    for entry in range(len(starts) - 1):
        begin = at
        while at < len(data) and data[at] != 0:
            at += 1
        kind = 0 if entry < words else 1
        if at == begin or at + 10 > len(data) or data[at + 9] != kind:
            return entry, begin
        starts[entry] = total
        total += at - begin
        if kind == 1:
            value = np.int64(0)
            for i in range(8):
                value |= np.int64(data[at + 1 + i]) << (8 * i)
            counts[entry - words] = value
        at += 10
    starts[len(starts) - 1] = total
    return -1, at


@kernel
def _copy_strings(data, at, starts, strings):
    for entry in range(len(starts) - 1):
        for i in range(starts[entry], starts[entry + 1]):
            strings[i] = data[at + i + 10 * entry]  # NUL, count and type of the entries before


def scan_entries(
    data: np.ndarray, at: int, words: int, starts: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, int, int]:
    """Read the entries at data[at:] into ``starts`` (all) and ``counts`` (labels): (strings, bad entry or -1, end)."""
    trouble, end = _scan(data, at, words, starts, counts)
    strings = np.empty(starts[-1] if trouble < 0 else 0, np.uint8)
    if trouble < 0:
        _copy_strings(data, at, starts, strings)
    return strings, trouble, end


@kernel
def _fill_grams(slots, pruned):
    mask = np.int64(len(slots) - 1)
    for i in range(len(pruned)):
        at = spread(np.int64(pruned[i, 0])) & mask
        while slots[at] != 0 and slots[at] >> 32 != np.int64(pruned[i, 0]) + 1:
            at = (at + 1) & mask
        slots[at] = (np.int64(pruned[i, 0]) + 1) << 32 | np.int64(pruned[i, 1])


@kernel
def spread(bucket):
    """Where the search for a bucket begins: neighbours far apart."""
    return (bucket * np.int64(2654435761)) >> np.int64(8)


@kernel
def find_gram(slots, bucket):
    """Row of a kept n-gram bucket behind the words, or -1."""
    mask = np.int64(len(slots) - 1)
    at = spread(bucket) & mask
    while slots[at] != 0:
        if slots[at] >> 32 == bucket + 1:
            return slots[at] & np.int64(0xFFFFFFFF)
        at = (at + 1) & mask
    return np.int64(-1)


def build_gram_slots(pruned: np.ndarray | None) -> np.ndarray:
    """Hash table bucket -> row of a pruned model, at most half full; empty (no element) if nothing was pruned."""
    if pruned is None:
        return np.zeros(0, np.int64)
    slots = np.zeros(max(16, 1 << (2 * len(pruned)).bit_length()), np.int64)
    _fill_grams(slots, pruned)
    return slots
