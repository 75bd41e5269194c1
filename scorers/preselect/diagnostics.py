"""What to look at before trusting strengths: their distribution, what else they follow, and what chance would give.

    permuted_orders(lambda scores: strength(losses, scores).value, benchmark)  # does another order do as well?
    relations(found.value, losses, benchmark, lengths)
    agreement({"preselect": first.value, "noise": second.value})

Strengths are float (D,) with NaN for undefined; what comes back are dataclasses and Arrow tables of plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from scorers.preselect.strength import Strength, combined


def histogram(found: Strength, bins: int = 20) -> pa.Table:
    """Columns lower, upper (float64), documents (int64); one bin per level where strengths have levels.

    A bin holds lower <= strength < upper; a level is its own lower and upper. Undefined strengths are not counted.
    """
    value = found.value[~np.isnan(found.value)]
    if found.levels is not None:
        steps = np.rint(value * (found.levels - 1)).astype(np.int64)
        edges = np.arange(found.levels) / (found.levels - 1)
        counts = np.bincount(steps, minlength=found.levels)
        return pa.table({"lower": edges, "upper": edges, "documents": counts})
    counts, edges = np.histogram(value, bins, (-1.0 if found.estimator == "spearman" else 0.0, 1.0))
    return pa.table({"lower": edges[:-1], "upper": edges[1:], "documents": counts})


def by_source(value: np.ndarray, sources: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Per source, most documents first: source, documents, defined, mean, deviation, perfect (share of strength 1).

    mean, deviation and perfect are null where no document is defined.
    """
    if len(sources) != len(value):
        raise ValueError(f"{len(sources)} sources for {len(value)} strengths; expected one per document")
    table = pa.table({"source": sources, "value": pa.array(value, pa.float64(), from_pandas=True)})
    table = table.append_column("perfect", pc.cast(pc.equal(table["value"], 1.0), pa.float64()))
    # Threads would sum in another order every time, and the report would change in its last digits.
    grouped = table.group_by("source", use_threads=False).aggregate(
        [
            ("value", "count", pc.CountOptions(mode="all")),
            ("value", "count"),
            ("value", "mean"),
            ("value", "stddev"),
            ("perfect", "mean"),
        ]
    )
    grouped = grouped.rename_columns(["source", "documents", "defined", "mean", "deviation", "perfect"])
    return grouped.sort_by([("documents", "descending"), ("source", "ascending")])


@dataclass(frozen=True)
class PermutedOrders:
    """Strengths under the benchmark as it is and under its scores dealt to the models in other ways.

    mean, high: the real benchmark's mean strength and share of documents with strength >= ``threshold``.
    means, highs: float64 (K,), the same of the K other orders; benchmarks: float64 (K, N) or (K, B, N), those orders.
    mean_rank, high_rank: how many of the K + 1 orders do at least as well, the real one included: 1 is the best.
    """

    threshold: float
    mean: float
    high: float
    means: np.ndarray
    highs: np.ndarray
    benchmarks: np.ndarray
    mean_rank: int
    high_rank: int


def permuted_orders(
    measure: Callable[[np.ndarray], np.ndarray],
    benchmark: np.ndarray,
    *,
    counts: np.ndarray | None = None,
    threshold: float = 1.0,
    most: int = 720,
    seed: int = 0,
) -> PermutedOrders:
    """Measure strength again with the benchmark's scores dealt to other models.

    measure: from a benchmark, shaped as the one given, to strengths (D,). benchmark: (N,) or (B, N). counts: how many
        documents each strength stands for, by default one: where only the order of the losses counts, one strength
        does for all documents of that order.
    All N! - 1 other orders if there are at most ``most``, else about ``most`` drawn with ``seed``. A real order that is
    not clearly ahead says that the panel, not the text, makes the strengths. Bigger models are better on most text,
    so that orders close to the real one do well too.
    """
    scores = np.asarray(benchmark, np.float64)
    models = scores.shape[-1]
    if math.factorial(models) - 1 <= most:
        deals = np.array(list(permutations(range(models)))[1:])
    else:
        random = np.random.default_rng(seed)
        deals = np.array([random.permutation(models) for _ in range(most)])
        deals = deals[(deals != np.arange(models)).any(axis=1)]
    dealt = scores.T[deals].swapaxes(1, -1)

    def summary(order: np.ndarray) -> tuple[float, float]:
        value = measure(order)
        known = ~np.isnan(value)
        weight = known.astype(np.float64) if counts is None else np.where(known, counts, 0.0)
        total = weight.sum()
        if not total:
            return np.nan, np.nan
        value = np.where(known, value, 0.0)
        return float((value * weight).sum() / total), float(((value >= threshold) * weight).sum() / total)

    mean, high = summary(scores)
    others = np.array([summary(order) for order in dealt]).reshape(-1, 2)
    ranks = 1 + (others >= np.array([mean, high])).sum(axis=0)
    return PermutedOrders(threshold, mean, high, others[:, 0], others[:, 1], dealt, int(ranks[0]), int(ranks[1]))


@dataclass(frozen=True)
class Relations:
    """Correlations of strength, over the documents where it is defined; NaN where something does not vary.

    gap: loss of the model with the lowest benchmark score less that of the model with the highest, the score of
    ScalingFilter; per unit of length, since losses are sums. The paper found it all but unrelated to strength (0.05).
    """

    documents: int
    length_spearman: float
    length_pearson: float
    gap_spearman: float
    gap_pearson: float


Ranks = dict[bytes, np.ndarray]
"""Ranks that are known, by the digest of what was ranked: one array is compared with many."""


def relations(
    value: np.ndarray, losses: np.ndarray, benchmark: np.ndarray, lengths: np.ndarray, ranks: Ranks | None = None
) -> Relations:
    """How strength goes with length and with the plain gap between the worst and the best model.

    losses: (D, N) sums; benchmark: (N,) or (B, N), of which the mean over benchmarks of the z-scores picks the two
    models; lengths: (D,), in characters, bytes or tokens. ranks: kept from call to call, nothing is ranked twice.
    """
    scores = combined(benchmark, losses.shape[1], "zscore")[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = (losses[:, scores.argmin()] - losses[:, scores.argmax()]) / lengths
    keep = np.isfinite(value) & np.isfinite(gap)
    value, gap, size = (_chosen(np.asarray(a, np.float64), keep) for a in (value, gap, lengths))
    return Relations(
        len(value),
        rank_correlation(value, size, ranks),
        _pearson(value, size),
        rank_correlation(value, gap, ranks),
        _pearson(value, gap),
    )


def agreement(values: dict[str, np.ndarray], top: float = 0.2, ranks: Ranks | None = None) -> pa.Table:
    """Per two estimators: first, second, documents (defined in both), spearman, overlap, chance.

    overlap: Jaccard index of their positives, the ``top`` share of each with all ties of the last one; chance: what two
    unrelated sets of those sizes would have.
    """
    rows = []
    for first, second in combinations(values, 2):
        keep = ~np.isnan(values[first]) & ~np.isnan(values[second])
        one, other = _chosen(values[first], keep), _chosen(values[second], keep)
        chosen, also = _top(one, top), _top(other, top)
        both = float((chosen & also).sum())
        expected = float(chosen.sum()) * float(also.sum()) / max(len(one), 1)
        sizes = float(chosen.sum() + also.sum())
        rows.append(
            {
                "first": first,
                "second": second,
                "documents": len(one),
                "spearman": rank_correlation(one, other, ranks),
                "overlap": both / (sizes - both) if sizes else np.nan,
                "chance": expected / (sizes - expected) if sizes else np.nan,
            }
        )
    return pa.Table.from_pylist(rows, _AGREEMENT)


_AGREEMENT = pa.schema(
    [("first", pa.string()), ("second", pa.string()), ("documents", pa.int64())]
    + [(name, pa.float64()) for name in ("spearman", "overlap", "chance")]
)


def rank_correlation(one: np.ndarray, other: np.ndarray, ranks: Ranks | None = None) -> float:
    """Spearman's, with average ranks for ties; NaN where one of them does not vary."""
    known: Ranks = {} if ranks is None else ranks
    return _pearson(_ranks(one, known), _ranks(other, known))


def _chosen(values: np.ndarray, keep: np.ndarray) -> np.ndarray:
    return values if keep.all() else values[keep]


def _ranks(values: np.ndarray, known: Ranks) -> np.ndarray:
    key = xxhash.xxh3_128_digest(np.ascontiguousarray(values).data)
    if key not in known:
        _, level, count = np.unique(values, return_inverse=True, return_counts=True)
        known[key] = (np.cumsum(count) - (count - 1) / 2)[level]
    return known[key]


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def _top(value: np.ndarray, share: float) -> np.ndarray:
    if len(value) == 0:
        return np.zeros(0, bool)
    count = max(int(share * len(value)), 1)
    return value >= np.partition(value, len(value) - count)[len(value) - count]
