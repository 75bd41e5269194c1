"""The boundary of a budget against a sort of everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.select import cut
from pipeline.select.cut import Focus, Found, Group, Place, beyond, find_cuts, look
from pipeline.select.rank import Ranked, Ranking, hashes, number_of, ordered_bits, reason_columns

RANKING = Ranking(
    by="q",
    ascending=False,
    random=None,
    undefined="reject",
    seed=3,
    unit="tokens",
    where=None,
    views=None,
    held_out=False,
)
NASTY = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, 5e-324, -5e-324, 1.7976931348623157e308, 0.1, np.nextafter(0.1, 1)]


@given(st.lists(st.floats(allow_nan=False), max_size=50))
def test_ordered_bits_sort_like_the_numbers_and_come_back(values: list[float]) -> None:
    bits = ordered_bits(np.array(values + NASTY))
    assert [number_of(int(b)) for b in bits] == values + NASTY
    order = np.argsort(bits, kind="stable")
    assert np.array(values + NASTY)[order].tolist() == sorted(values + NASTY)
    assert ordered_bits(np.array([-0.0])) == ordered_bits(np.array([0.0]))


def shard(corpus: str, ids: list[str], sources: list[str], scores: list[float], amounts: list[int]) -> Ranked:
    names = sorted(set(sources))
    return Ranked(
        corpus=corpus,
        ids=pa.chunked_array([pa.array(ids, pa.string())]),
        sources=np.array([names.index(s) for s in sources], np.int32),
        source_names=names,
        amount=np.array(amounts, np.int64),
        key=~ordered_bits(np.array(scores, np.float64)),
        score=pa.chunked_array([pa.array(scores, pa.float64())]),
        reasons=np.zeros(len(ids), np.uint8),
        pooled=np.ones(len(ids), bool),
        lengths={},
    )


documents = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(NASTY) | st.floats(allow_nan=False),
        st.integers(0, 20) | st.integers(0, 2**40),
    ),
    min_size=1,
    max_size=60,
)


# One source is settled rounds before the rest: its documents must not count with the rest then.
@example([("a", 0.0, 0), ("b", 1.0, 1), ("a", 1.0, 1), ("b", 1.0, 0)], 1, 0, 0, 1)
@settings(max_examples=150, deadline=None)
@given(documents, st.integers(1, 5), st.integers(0, 300), st.integers(0, 300), st.sampled_from([1, 3, 1000]))
def test_a_cut_is_the_longest_prefix_that_fits_however_it_is_reached(
    rows: list[tuple[str, float, int]], shards: int, own: int, rest: int, fetch_rows: int
) -> None:
    columns = [(f"d{i}", s, q, n) for i, (s, q, n) in enumerate(rows)]
    parts = [
        shard("web", *map(list, zip(*columns[i::shards], strict=True))) for i in range(shards) if columns[i::shards]
    ]
    limits: dict[Group, int] = {"a": own, None: rest}

    def look_round(focus: Mapping[Group, Focus]) -> Iterable[Mapping[Group, Found]]:
        return [look(part, RANKING, part.eligible, focus) for part in parts]

    cuts = find_cuts(look_round, lambda: limits, limits, fetch_rows)
    kept = set()
    for part in parts:
        over = beyond(part, RANKING, part.eligible, cuts)
        kept |= {i for i, o in zip(part.ids.to_pylist(), over, strict=True) if not o}
    expected = set()
    for group, limit in limits.items():
        mine = [c for c in columns if (c[1] == "a") == (group == "a")]
        ties = hashes(pa.chunked_array([pa.array([c[0] for c in mine], pa.string())]), RANKING.seed)
        total = 0
        for _, _, identity, amount in sorted((-c[2], int(t), c[0], c[3]) for c, t in zip(mine, ties, strict=True)):
            total += amount
            if total > limit:
                break
            expected.add(identity)
    assert kept == expected


def test_equal_keys_and_equal_hashes_are_ranked_by_id_and_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "hashes", lambda ids, seed: np.full(len(ids), 7, np.uint64))
    parts = [shard(c, [f"d{i}" for i in range(20)], ["s"] * 20, [0.5] * 20, [1] * 20) for c in ("web", "news")]
    cuts = find_cuts(lambda f: [look(p, RANKING, p.eligible, f) for p in parts], lambda: {None: 15}, [None], 4)
    assert cuts == {None: Place(parts[0].key[0], 7, "d15", "web")}
    kept = [int((~beyond(p, RANKING, p.eligible, cuts)).sum()) for p in parts]
    assert kept == [7, 8]


def test_a_giant_tie_is_never_fetched_whole() -> None:
    part = shard("web", [f"d{i}" for i in range(5000)], ["s"] * 5000, [0.5] * 5000, [1] * 5000)
    fetched = []

    def look_round(focus: Mapping[Group, Focus]) -> Iterable[Mapping[Group, Found]]:
        answer = look(part, RANKING, part.eligible, focus)
        fetched.extend(len(f.documents) for f in answer.values())
        return [answer]

    cuts = find_cuts(look_round, lambda: {None: 1234}, [None], fetch_rows=50)
    assert int((~beyond(part, RANKING, part.eligible, cuts)).sum()) == 1234
    assert 0 < max(fetched) <= 50


def test_the_first_reason_is_the_first_bit_and_all_are_listed() -> None:
    reason, reasons = reason_columns(np.array([0, 1, 2 | 4, 64], np.uint64), RANKING.reasons)
    assert reason.to_pylist() == [None, "held_out", "missing_scores", "over_budget"]
    assert reasons.to_pylist() == [[], ["held_out"], ["missing_scores", "where"], ["over_budget"]]
