"""Which documents of a cluster stay: in order of preference, each goes to the first kept document that it is like.

    choice = Choice(jaccard=False, threshold=0.8, clusters=10)
    leader, shared, size = choice.settle(numbers, cluster, order, sets)

The best document of a cluster is kept. Each of the others is compared with the kept documents of its cluster, best
first: if enough of it is in one of them it is a near-duplicate of that one, else it is kept too. So whatever is not
kept has been compared, itself, with the document that stands for it; a chain A ~ B ~ C alone never removes C in favour
of A.

"Enough": containment of the document in the kept one, or their Jaccard similarity, at least ``threshold``. A document
is compared with the first ``most`` kept ones of its cluster; what is like none of them is kept.
"""

from __future__ import annotations

import numpy as np

from scorers.bits import inlined
from scorers.jit import kernel
from scorers.near.grams import GramSets, joined, overlap

MOST = 64
"""Kept documents of a cluster that a document is compared with."""
_SLACK = 1e-9
"""A share of exactly 0.8 is enough for 0.8, whatever its rounding."""


def alike(shared: np.ndarray, sizes: np.ndarray, others: np.ndarray, jaccard: bool, threshold: float) -> np.ndarray:
    """Whether either document of a pair would be a near-duplicate of the other."""
    whole = sizes + others - shared if jaccard else np.minimum(sizes, others)
    return shared >= (threshold - _SLACK) * whole


class Choice:
    """The kept documents of ``clusters`` clusters; documents come in blocks, the preferred ones in earlier blocks."""

    def __init__(self, jaccard: bool, threshold: float, clusters: int, most: int = MOST):
        self.jaccard, self.threshold, self.most = jaccard, threshold, most
        self._kept = GramSets(np.zeros(1, np.int64), np.zeros(0, np.uint64))
        self._numbers = np.zeros(0, np.int64)
        self._clusters = np.zeros(0, np.int64)
        self._count = clusters

    def settle(
        self, numbers: np.ndarray, clusters: np.ndarray, order: np.ndarray, sets: GramSets, last: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(number of the kept document, grams in common with it, its grams) of each document of a block; int64.

        numbers: the documents; order: positions, one cluster after the other, the preferred first. last: no block
        follows. A document that is kept has itself.
        """
        leader = np.empty(len(sets), np.int64)
        shared, sizes = np.empty(len(sets), np.int64), np.empty(len(sets), np.int64)
        fresh = np.zeros(len(sets), np.bool_)
        starts = np.searchsorted(self._clusters, np.arange(self._count + 1))
        _settle(
            order,
            clusters,
            sets.offsets,
            sets.grams,
            numbers,
            starts,
            self._kept.offsets,
            self._kept.grams,
            self._numbers,
            self.jaccard,
            self.threshold - _SLACK,
            self.most,
            np.empty(self.most, np.int64),
            leader,
            shared,
            sizes,
            fresh,
        )
        if not last:
            rows = order[fresh[order]]
            found = np.concatenate([self._clusters, clusters[rows]])
            place = np.argsort(found, kind="stable")
            self._kept = joined([self._kept, sets.take(rows)]).take(place)
            self._numbers = np.concatenate([self._numbers, numbers[rows]])[place]
            self._clusters = found[place]
        return leader, shared, sizes


@inlined
def _enough(shared, size, other, jaccard, threshold):
    whole = size + other - shared if jaccard else size
    return shared >= threshold * whole


@kernel
def _settle(
    order,
    clusters,
    offsets,
    grams,
    numbers,
    starts,
    kept_offsets,
    kept,
    kept_numbers,
    jaccard,
    threshold,
    most,
    leaders,
    leader,
    shared,
    sizes,
    fresh,
):
    current, count = np.int64(-1), 0  # kept documents of this block in the current cluster
    for k in range(len(order)):
        doc = order[k]
        cluster = clusters[doc]
        if cluster != current:
            current, count = cluster, 0
        begin, end = offsets[doc], offsets[doc + 1]
        size = end - begin
        first, stop = starts[cluster], starts[cluster + 1]
        leader[doc], shared[doc], sizes[doc] = numbers[doc], size, size
        found = False
        for other in range(first, stop):
            other_size = kept_offsets[other + 1] - kept_offsets[other]
            both = overlap(grams, begin, end, kept, kept_offsets[other], kept_offsets[other + 1])
            if _enough(both, size, other_size, jaccard, threshold):
                leader[doc], shared[doc], sizes[doc] = kept_numbers[other], both, other_size
                found = True
                break
        if found:
            continue
        for n in range(count):
            other = leaders[n]
            other_size = offsets[other + 1] - offsets[other]
            both = overlap(grams, begin, end, grams, offsets[other], offsets[other + 1])
            if _enough(both, size, other_size, jaccard, threshold):
                leader[doc], shared[doc], sizes[doc] = numbers[other], both, other_size
                found = True
                break
        if not found and stop - first + count < most:
            leaders[count] = doc
            count += 1
            fresh[doc] = True
