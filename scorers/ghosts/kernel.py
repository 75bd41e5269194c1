"""One pass over the bytes: canonical words, windows that a registry may know, runs of words of a list.

A word's hash is made while its letters are read; everything else happens at its end. Nearly every word of ordinary text
is in no list, which a bitmap that stays in the nearest cache says at once. Only a window whose words are all in the
registry's list (or, for a registry that does not name its list, every window) is looked up, first in a Bloom filter of
one load, then in the sorted probes: so the size of a registry hardly shows. What is found here are candidates, a few
per million words; windows.py and runs.py decide about them.

    found = scan(data, offsets, vocabulary, probes)          # structured array, FOUND
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorers.bits import inlined, pointer, prefetch, read_only
from scorers.ghosts.word_kernel import next_word, tables
from scorers.jit import kernel
from scorers.words import mix

WINDOW, RUN = 1, 2
"""Kinds of what is found."""
KNOWN, COUNTS, STOP = 1, 2, 4
"""Flags of a word: of the registry's list; counts for runs; of the runs' list, but too common to count."""
SHORTEST = 5
"""Words of the shortest run that is reported."""
RING = 64
"""Words that are remembered: the longest window."""
NEAR = 16
"""Words back in which a repeated one is noticed."""
WAITING = 16
"""Windows that wait for their word of the filter: some 400 ns of reading, more than memory takes to answer."""

FOUND = np.dtype(
    [
        ("kind", "i8"),
        ("doc", "i8"),
        ("begin", "i8"),  # bytes, within the document
        ("end", "i8"),
        ("words", "i8"),  # that count
        ("hash", "u8"),  # of the words, in order
        ("falls", "i8"),  # words that come before their predecessor in the alphabet
        ("rises", "i8"),
        ("breaks", "i8"),  # gaps with a line break
        ("marks", "i8"),  # gaps with anything but white space
        ("repeats", "i8"),  # words that came shortly before
        ("capitals", "i8"),
    ]
)
_FIELDS = len(FOUND.names or ())

_SEED = np.uint64(0x9E3779B97F4A7C15)
_FOLD = np.uint64(0xBF58476D1CE4E5B9)
_ROLL = np.uint64(0xD6E8FEB86659FD93)
_BITMAP_SHIFT = np.uint64(64 - 17)
_SIX, _SIXTY_THREE, _32 = np.uint64(6), np.uint64(63), np.uint64(32)
_ONE = np.uint64(1)


@dataclass(frozen=True)
class Vocabulary:
    """Words by their hashes. bitmap: uint64, 2**17 bits; slots: uint64, a power of two, 0 is free; flags: uint8."""

    bitmap: np.ndarray
    slots: np.ndarray
    flags: np.ndarray


@dataclass(frozen=True)
class Probes:
    """Windows of `size` words by 32 bits of their hashes. blocks: uint64, the Bloom filter; sorted: uint32.

    listed: whether only windows of KNOWN words are looked up.
    """

    size: int
    listed: bool
    blocks: np.ndarray
    sorted: np.ndarray


def vocabulary(words: dict[int, int]) -> Vocabulary:
    """From {hash: flags}."""
    size = 1 << max(4, (2 * len(words)).bit_length())
    made = Vocabulary(np.zeros(1 << 11, np.uint64), np.zeros(size, np.uint64), np.zeros(size, np.uint8))
    for value, flags in words.items():
        made.bitmap[value >> 53] |= np.uint64(1 << (value >> 47 & 63))
        slot = value & size - 1
        while made.slots[slot]:
            slot = slot + 1 & size - 1
        made.slots[slot], made.flags[slot] = value, flags
    return made


def probes(size: int, windows: np.ndarray, listed: bool) -> Probes:
    """From uint32, the upper halves of the hashes of windows (window_hashes)."""
    ordered = np.unique(windows.astype(np.uint32))
    blocks = np.zeros(max(1, len(ordered) // 4), np.uint64)
    if len(ordered):
        place, bits = _bloom(ordered.astype(np.uint64), len(blocks))
        np.bitwise_or.at(blocks, place, bits)
    return Probes(size, listed, blocks, ordered)


def _bloom(probe: np.ndarray, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Block and bits of probes (uint64): what the kernel does, for arrays."""
    place = (probe * np.uint64(blocks) >> _32).astype(np.int64)
    spread = probe * _SEED >> np.uint64(20)
    bits = np.zeros(len(probe), np.uint64)
    for k in range(4):
        bits |= _ONE << (spread >> np.uint64(6 * k) & _SIXTY_THREE)
    return place, bits


def scan(data: np.ndarray, offsets: np.ndarray, words: Vocabulary, known: Probes) -> np.ndarray:
    """FOUND of documents ``data[offsets[d]:offsets[d + 1]]``, in their order; in each, windows and runs in order.

    Runs of at least SHORTEST words that count, and windows that the probes know.
    """
    found = np.empty((64, _FIELDS), np.int64)
    hash_rings, place_rings = np.zeros((3, RING), np.uint64), np.zeros((3, RING), np.int64)
    doc = num = 0
    while True:
        doc, num = _scan(
            read_only(data),
            read_only(offsets),
            *tables(),
            read_only(words.bitmap),
            read_only(words.slots),
            read_only(words.flags),
            known.size if len(known.sorted) else 0,
            known.listed,
            read_only(known.blocks),
            read_only(known.sorted),
            hash_rings,
            place_rings,
            doc,
            num,
            found,
        )
        if doc == len(offsets) - 1:
            return found[:num].view(FOUND).reshape(-1)
        found = np.concatenate([found, np.empty((len(found) * 3, _FIELDS), np.int64)])


def window_hashes(hashes: np.ndarray, size: int) -> np.ndarray:
    """uint64 of the windows of `size` words: of (n, length) word hashes, (n, length - size + 1)."""
    rolled = np.zeros((len(hashes), hashes.shape[1] - size + 1), np.uint64)
    for k in range(size):
        rolled = rolled * _ROLL + hashes[:, k : k + rolled.shape[1]]
    return _mixed(rolled)


def _mixed(h: np.ndarray) -> np.ndarray:
    """scorers.words.mix, for arrays."""
    h = (h ^ (h >> _32)) * _FOLD
    h = (h ^ (h >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> _32)


@inlined
def _flags_of(h, bits, slots, flag, mask):
    """Flags of a word, 0 for most."""
    if not bits[np.int64(h >> np.uint64(53))] >> (h >> _BITMAP_SHIFT & _SIXTY_THREE) & _ONE:
        return 0
    slot = np.int64(h & mask)
    size = np.int64(mask)
    while slots[slot]:
        if slots[slot] == h:
            return np.int64(flag[slot])
        slot = (slot + 1) & size
    return 0


@inlined
def _may_know(probe, blocks, num_blocks):
    """The Bloom filter: four bits of one block."""
    spread = probe * _SEED >> np.uint64(20)
    bits = _ONE << (spread & _SIXTY_THREE)
    bits |= _ONE << (spread >> np.uint64(6) & _SIXTY_THREE)
    bits |= _ONE << (spread >> np.uint64(12) & _SIXTY_THREE)
    bits |= _ONE << (spread >> np.uint64(18) & _SIXTY_THREE)
    return blocks[_block(probe, num_blocks)] & bits == bits


@inlined
def _block(probe, num_blocks):
    """Which word of the Bloom filter is a probe's."""
    return np.int64(probe * num_blocks >> _32)


@inlined
def _known_window(whole, blocks, num_blocks, ordered, num):
    """Whether a window's hash may be one of the registry's."""
    probe = whole >> _32
    return _may_know(probe, blocks, num_blocks) and _knows(probe, ordered, num)


@inlined
def _note_window(found, num, doc, begin, end, size, whole):
    """Write a window to its row of found."""
    found[num, 0], found[num, 1], found[num, 2], found[num, 3] = WINDOW, doc, begin, end
    found[num, 4], found[num, 5] = size, np.int64(whole)
    for k in range(6, _FIELDS):
        found[num, k] = 0


@inlined
def _knows(probe, ordered, num):
    """Whether the sorted probes hold one."""
    low, high = 0, num
    while low < high:
        middle = (low + high) >> 1
        if np.uint64(ordered[middle]) < probe:
            low = middle + 1
        else:
            high = middle
    return low < num and np.uint64(ordered[low]) == probe


@inlined
def _order_key(text, begin, end, letters):
    """The first seven letters, so that keys compare as words do (bytes beyond ASCII as they are)."""
    key = np.int64(0)
    for k in range(7):
        byte = np.int64(0)
        if begin + k < end:
            byte = np.int64(text[begin + k])
            if byte < 128:
                byte = np.int64(letters[byte])
        key = key << 8 | byte
    return key


@inlined
def _gap(text, begin, end):
    """What lies between two words: 1, a line break; 2, more than white space; 4, the end of a sentence or paragraph."""
    kind, lines = 0, 0
    for i in range(begin, end):
        byte = text[i]
        if byte == 10:
            kind |= 1
            lines += 1
        elif byte == 46 or byte == 33 or byte == 63 or byte == 58 or byte == 59:  # . ! ? : ;
            kind |= 6
        elif byte != 32 and byte != 9 and byte != 13:
            kind |= 2
    return kind | 4 if lines > 1 else kind


@kernel
def _scan(
    data,
    offsets,
    letter_of,
    index,
    pages,
    several_of,
    bitmap,
    slot_of,
    flag_of,
    size,
    listed,
    block_of,
    probe_of,
    hash_rings,
    place_rings,
    first_doc,
    num,
    found,
):
    """Scan from first_doc on while there is room; returns (next document, found so far)."""
    text, letters, page_of = pointer(data), pointer(letter_of), pointer(index)
    page, several, limit = pointer(pages), pointer(several_of), len(data)
    bits, slots, flag = pointer(bitmap), pointer(slot_of), pointer(flag_of)
    blocks, ordered = pointer(block_of), pointer(probe_of)
    mask, num_blocks, num_probes = np.uint64(len(slot_of) - 1), np.uint64(len(block_of)), len(probe_of)
    drop = _ONE  # ROLL ** size: what the word that leaves a window has grown by
    for _ in range(size):
        drop *= _ROLL
    hashes, near, waiting = pointer(hash_rings[0]), pointer(hash_rings[1]), pointer(hash_rings[2])
    begins, starts, stops = pointer(place_rings[0]), pointer(place_rings[1]), pointer(place_rings[2])
    for doc in range(first_doc, len(offsets) - 1):
        first, i, end = offsets[doc], offsets[doc], offsets[doc + 1]
        before_doc = num
        in_window, ended, rolled = 0, 0, np.uint64(0)
        count = bridges = falls = rises = breaks = marks = repeats = capitals = 0
        run_begin = run_end = gap_from = last_key = np.int64(0)
        run_hash = np.uint64(0)
        at = 0
        while True:
            begin, stop, h, i = next_word(text, i, end, limit, letters, page_of, page, several)
            flags = 0
            if begin >= 0:
                flags = _flags_of(h, bits, slots, flag, mask)
                if size and (not listed or flags & KNOWN):
                    rolled = rolled * _ROLL + h
                    if in_window >= size:
                        rolled -= hashes[(at - size) & (RING - 1)] * drop
                    hashes[at & (RING - 1)], begins[at & (RING - 1)] = h, begin
                    at += 1
                    in_window += 1
                    if in_window >= size:
                        slot = ended & (WAITING - 1)
                        if ended >= WAITING:
                            whole = waiting[slot]
                            if _known_window(whole, blocks, num_blocks, ordered, num_probes):
                                if num == len(found):
                                    return doc, before_doc
                                _note_window(found, num, doc, starts[slot] - first, stops[slot] - first, size, whole)
                                num += 1
                        whole = mix(rolled)
                        prefetch(blocks, _block(whole >> _32, num_blocks))
                        waiting[slot], starts[slot], stops[slot] = whole, begins[(at - size) & (RING - 1)], stop
                        ended += 1
                elif in_window:
                    in_window, rolled = 0, np.uint64(0)
            gap = 0
            if flags and count:
                gap = _gap(text, gap_from, begin)
            if flags & STOP and count and bridges == 0 and not gap & 4:
                bridges = 1  # a phrase may hold one such word of its list; a second one ends the run
                gap_from = stop
                continue
            if count and (not flags & COUNTS or gap & 4):
                if count >= SHORTEST:
                    if num == len(found):
                        return doc, before_doc
                    found[num, 0], found[num, 1] = RUN, doc
                    found[num, 2], found[num, 3] = run_begin - first, run_end - first
                    found[num, 4], found[num, 5] = count, np.int64(mix(run_hash))
                    found[num, 6], found[num, 7], found[num, 8] = falls, rises, breaks
                    found[num, 9], found[num, 10], found[num, 11] = marks, repeats, capitals
                    num += 1
                count = 0
            if flags & COUNTS:
                key = _order_key(text, begin, stop, letters)
                if count == 0:
                    run_begin, run_hash = begin, np.uint64(0)
                    bridges = falls = rises = breaks = marks = repeats = capitals = 0
                else:
                    breaks += gap & 1
                    marks += gap >> 1 & 1
                    falls += key < last_key
                    rises += key > last_key
                    for k in range(min(count, NEAR)):
                        if near[k] == h:
                            repeats += 1
                            break
                near[count & (NEAR - 1)] = h
                byte = text[begin]
                capitals += 65 <= byte <= 90
                run_hash = run_hash * _ROLL + h
                run_end, gap_from, last_key = stop, stop, key
                count += 1
            if begin < 0:
                break
        for k in range(max(ended - WAITING, 0), ended):
            slot = k & (WAITING - 1)
            if _known_window(waiting[slot], blocks, num_blocks, ordered, num_probes):
                if num == len(found):
                    return doc, before_doc
                _note_window(found, num, doc, starts[slot] - first, stops[slot] - first, size, waiting[slot])
                num += 1
    return len(offsets) - 1, num
