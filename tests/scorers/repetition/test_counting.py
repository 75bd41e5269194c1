"""Counting of records against a plain counter."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorers.repetition import counting
from scorers.repetition.counting import LATER, Slab, Table, route
from scorers.repetition.windows import CHECK_SHIFT, SOURCE_SHIFT

# Few keys and checks, so that they repeat and collide; documents are in order, as in a corpus.
ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(0, 3), st.integers(0, 2)), max_size=60)


def records_of(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    """key, check, step to the next document, source -> records in text order."""
    records = np.zeros((len(rows), 2), np.uint64)
    document = 0
    for i, (key, check, step, source) in enumerate(rows):
        document += step > 2
        records[i, 0] = np.uint64(key * 0x2AAAAAAAAAAAAAAA % 2**64)
        about = np.uint64(check) << CHECK_SHIFT | np.uint64(source) << SOURCE_SHIFT | np.uint64(document)
        records[i, 1] = about
    return records


def plain(records: np.ndarray) -> list[tuple[tuple[int, int], int, int]]:
    """(fingerprint, document, source) per record."""
    return [((int(key), int(about) >> 38), int(about) & 0xFFFFFFFF, int(about) >> 32 & 63) for key, about in records]


@given(ROWS, st.integers(0, 3), st.integers(1, 7))
def test_a_partition_is_counted_as_a_counter_would(rows: list[tuple[int, int, int, int]], bits: int, slab: int) -> None:
    records = records_of(rows)
    routed = np.empty_like(records)
    begins = route(records, bits, routed)
    assert begins[-1] == len(records)
    occurrences = Counter(mark for mark, _, _ in plain(records))
    documents = defaultdict(set)
    sources: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for mark, document, source in plain(records):
        documents[mark].add(document)
        sources[mark][source] += 1
    seen: set[tuple[int, int]] = set()
    distinct = 0
    for number in range(1 << bits):
        part = routed[begins[number] : begins[number + 1]]
        assert all(int(key) >> (64 - bits) == number for key in part[:, 0])
        slabs = [Slab.of(part[i : i + slab], bits) for i in range(0, len(part), slab)]
        table = Table(bits, expected=1)
        for one in slabs:
            table.add(one)
        table.seal()
        assert table.counted == len(part)
        distinct += table.distinct
        pairs, numbers = table.spectrum()
        assert Counter(dict(zip(map(tuple, pairs.tolist()), numbers.tolist(), strict=True))) == Counter(
            (occurrences[mark], len(documents[mark])) for mark in {mark for mark, _, _ in plain(part)}
        )
        for begin, one in zip(range(0, len(part), slab), slabs, strict=True):
            answers = table.answers(one)
            here = plain(part[begin : begin + slab])
            assert answers.places.tolist() == [i for i, (mark, _, _) in enumerate(here) if occurrences[mark] > 1]
            for place, count, spread, which in zip(
                answers.places, answers.occurrences, answers.documents, answers.sets, strict=True
            ):
                mark, _, _ = here[place]
                assert (count, spread) == (occurrences[mark], len(documents[mark]))
                assert bool(which & LATER) == (mark in seen)
                seen.add(mark)
                every, twice = table.sets[which & ~LATER].tolist()
                assert every == sum(1 << source for source in sources[mark])
                assert twice == sum(1 << source for source, n in sources[mark].items() if n > 1)
    assert distinct == len(occurrences)


@given(ROWS, st.integers(0, 10))
def test_references_are_counted_and_the_others_answered(rows: list[tuple[int, int, int, int]], references: int) -> None:
    records = records_of(rows)
    slab = Slab.of(records, 0)
    table = Table(0, references)
    table.add(slab)
    table.seal()
    counts = Counter(mark for mark, document, _ in plain(records) if document < references)
    assert table.counted == sum(counts.values())
    answers = table.answers(slab)
    expected = [
        (i, counts[mark])
        for i, (mark, document, _) in enumerate(plain(records))
        if document >= references and counts[mark]
    ]
    assert list(zip(answers.places.tolist(), answers.occurrences.tolist(), strict=True)) == expected


def test_equal_keys_with_different_checks_stay_apart() -> None:
    # What a collision of 64-bit keys looks like: the check tells the two apart.
    records = records_of([(1, 0, 0, 0), (1, 1, 0, 0), (1, 0, 3, 0)])
    table = Table(0)
    table.add(Slab.of(records, 0))
    table.seal()
    assert table.distinct == 2
    assert table.answers(Slab.of(records, 0)).places.tolist() == [0, 2]


def test_a_table_grows_past_what_was_expected() -> None:
    rng = np.random.default_rng(0)
    records = np.zeros((50_000, 2), np.uint64)
    records[:, 0] = rng.integers(0, 2**63, len(records)).astype(np.uint64) * np.uint64(2)
    table = Table(0, expected=10)
    for begin in range(0, len(records), 7_000):
        table.add(Slab.of(records[begin : begin + 7_000], 0))
    table.seal()
    assert (table.distinct, table.counted) == (50_000, 50_000)


def test_a_table_that_is_almost_full_is_not_filled_record_by_record(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    count = counting._count
    monkeypatch.setattr(counting, "_count", lambda *values: calls.append(1) or count(*values))
    # All of them again and again: nothing new comes, and the room that is left stays what it was.
    keys = np.random.default_rng(0).integers(0, 2**64, 12_287, np.uint64)
    records = np.zeros((20 * len(keys), 2), np.uint64)
    records[:, 0] = np.tile(keys, 20)
    table = Table(0, expected=10)
    for part in np.array_split(records, 7):
        table.add(Slab.of(part, 0))
    table.seal()
    pairs, numbers = table.spectrum()
    assert pairs.tolist() == [[20, 1]]
    assert numbers.tolist() == [12_287]
    assert len(calls) < 100
