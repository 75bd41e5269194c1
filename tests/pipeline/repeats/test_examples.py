"""The best spans of a shard, gathered batch by batch, against a plain sort of all of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.repeats.examples import RANKINGS, Span, gathered, ranked
from scorers.repetition.coverage import Stretches

# A span's words, occurrences and documents follow from its identity, as those of a text do.
BATCHES = st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=8)


def facts(identity: int) -> tuple[int, int, int]:
    return 50 + identity * 7 % 11, 2 + identity * 5 % 13, 1 + identity % 3


@given(BATCHES, st.integers(1, 6))
def test_no_batch_hides_one_of_the_best_or_a_copy_of_it(batches: list[list[int]], most: int) -> None:
    kept: dict[int, Span] = {}
    for number, batch in enumerate(batches):
        words, occurrences, documents = np.array([facts(one) for one in batch], np.int64).reshape(-1, 3).T
        places = np.arange(len(batch))
        identity = np.array(batch, np.uint64)
        found = Stretches(places, places, words, occurrences, documents, identity)
        gathered(kept, found, most, lambda i, number=number: ("text", 4, (number, i)))  # type: ignore[misc]
    counts = Counter(one for batch in batches for one in batch)
    everything = [
        {"identity": one, "words": words, "occurrences": occurrences}
        for one in counts
        for words, occurrences, _ in [facts(one)]
    ]
    for ranking in RANKINGS:
        best = [span["identity"] for span in ranked(everything, ranking)[:most]]
        assert [span["identity"] for span in ranked(kept.values(), ranking)[:most]] == best
        for one in best:
            assert kept[one]["found"] == counts[one]
            where = [(n, i) for n, batch in enumerate(batches) for i, other in enumerate(batch) if other == one]
            assert kept[one]["places"] == where[:5]
