"""How often every window of a corpus occurs, by a suffix array: slow, in memory, and nothing in common with Tamis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydivsufsort import divsufsort, kasai


@dataclass(frozen=True)
class Counted:
    """Per document: occurrences of the window at each place, and the documents that have it."""

    occurrences: list[list[int]]
    documents: list[list[int]]


def counted(texts: list[str], size: int) -> Counted:
    """Windows of `size` white-space words. Documents end in a word of their own, so that no match runs across."""
    numbers: dict[str, int] = {}
    words = [[numbers.setdefault(word, len(numbers)) for word in text.split()] for text in texts]
    whole: list[int] = []
    owner: list[int] = []
    for doc, one in enumerate(words):
        whole += [*one, len(numbers) + doc]
        owner += [doc] * (len(one) + 1)
    sequence = np.array(whole, np.int64)
    suffixes = divsufsort(sequence)
    common = kasai(sequence, suffixes)  # with the suffix that follows in the order
    occurrences, documents = np.ones(len(whole), np.int64), np.ones(len(whole), np.int64)
    begin = 0
    for i in range(len(whole)):
        if i + 1 == len(whole) or common[i] < size:
            group = suffixes[begin : i + 1]
            occurrences[group] = len(group)
            documents[group] = len({owner[place] for place in group})
            begin = i + 1
    found = Counted([], [])
    place = 0
    for one in words:
        stop = place + max(len(one) - size + 1, 0)
        found.occurrences.append(occurrences[place:stop].tolist())
        found.documents.append(documents[place:stop].tolist())
        place += len(one) + 1
    return found


def covered(windows: list[int], size: int, least: int) -> int:
    """Words under windows with a value of at least `least`."""
    until = total = 0
    for start, value in enumerate(windows):
        if value >= least:
            total += start + size - max(start, until)
            until = start + size
    return total
