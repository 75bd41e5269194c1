"""Predictive strength: how well the losses of a panel of models on one document order the models as a benchmark does.

``preselect``  the share of the model pairs in which the better model has the lower loss: Eq. 1 of PreSelect (Shum et
               al. 2025, arXiv 2503.00808), which is (1 + Kendall's tau) / 2. ties="half" mends its ties.
``margin``     the same with every pair weighted by the difference of its benchmark scores.
``spearman``   the rank correlation of -loss and score, average ranks for ties. Without ties it is 3N / (N + 1) times
               the sign-cdf estimator of perplexity correlations (Thrush, Potts and Hashimoto 2025).
``noise``      preselect with every 0 or 1 replaced by the probability, given the spread of the token losses, that the
               better model's loss is the lower one: Phi(difference / standard error). What cannot be told is worth
               one half. The pairs are pooled by their mean, which stays close to Eq. 1, or by the geometric mean
               (pooling="product"): one clear contradiction then weighs more than many differences that could be
               chance. That finds more where the order of the benchmark is nearly exact, but not on models that were
               really trained, where it found less; docs/experiments/preselect-recovery.md has the numbers.

    found = strength(losses, np.array([75.4, 76.3, 77.3, 79.5, 80.5, 81.2]))
    positives = found.value == 1

Only the order of a document's losses counts, except for ``noise``: sums, means and bits per character give the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np

from scorers.jit import kernel
from scorers.preselect.pairs import PairStatistics, likely, steadied

Estimator = Literal["preselect", "spearman", "margin", "noise"]
Ties = Literal["paper", "half"]
Combine = Literal["mean", "zscore", "rank"]
Pooling = Literal["mean", "product"]

PRIOR_TOKENS = 8.0
_LEAST = 1e-6  # of a probability: what one pair can take away is bounded, whatever its token losses claim


@dataclass(frozen=True)
class Strength:
    """Strengths of D documents.

    value: float64 (D,), NaN where a loss is missing. 1 is perfect agreement, hit exactly by all but ``noise``; none at
        all is 0, and -1 for spearman, which is undefined (NaN) too where all losses are equal.
    numerator: float64 (D,), the weight of the pairs that agree (of ``noise`` with pooling "product" the logarithm of
        the product); None for spearman.
    denominator: the weight of all pairs (15 for six models and Eq. 1); 1 for spearman.
    levels: how many values there can be for Eq. 1 on one benchmark (16 for six models), else None.
    """

    estimator: Estimator
    value: np.ndarray
    numerator: np.ndarray | None
    denominator: float
    levels: int | None


def strength(
    losses: np.ndarray,
    benchmark: np.ndarray,
    estimator: Estimator = "preselect",
    *,
    ties: Ties = "paper",
    combine: Combine = "mean",
    pairs: PairStatistics | None = None,
    pooling: Pooling = "mean",
    prior_tokens: float = PRIOR_TOKENS,
) -> Strength:
    """Predictive strength of every document.

    losses: float (D, N), one column per model, lower is better, NaN = missing (the document is then undefined).
    benchmark: (N,) or (B, N) scores of the same models, higher is better (negate errors).
    ties: of ``preselect``. "paper": equal losses earn nothing, pairs of equal score stay in the denominator.
        "half": equal losses earn one half, pairs of equal score are left out. The other estimators always do so.
    combine: several benchmarks. "mean": the mean of the strengths on each (for the product of ``noise``, of their
        logarithms); "zscore", "rank": the strength on the mean of their z-scores or average ranks over the models.
    pairs: of ``noise`` only: the statistics of the token losses (pairs.pair_statistics).
    pooling: of ``noise`` only: "mean" of the pairs' probabilities, or "product", their geometric mean.
    prior_tokens: of ``noise`` only: see pairs.steadied; 0 trusts each document's own standard error alone.
    ValueError for arrays that do not fit and for a benchmark that gives all models the same score.
    """
    told = None if pairs is None else likely(steadied(pairs, prior_tokens))
    return measured(losses, estimator, ties=ties, combine=combine, told=told, pooling=pooling)(benchmark)


def measured(
    losses: np.ndarray,
    estimator: Estimator = "preselect",
    *,
    ties: Ties = "paper",
    combine: Combine = "mean",
    told: np.ndarray | None = None,
    pooling: Pooling = "mean",
) -> Callable[[np.ndarray], Strength]:
    """The same as a function of the benchmark: for many orders of the models, work on the documents is done once.

    told: of ``noise`` only, float64 (D, P): pairs.likely of the steadied statistics.
    """
    if estimator not in get_args(Estimator):
        raise ValueError(f"no estimator {estimator!r}; there are {', '.join(get_args(Estimator))}")
    losses = np.ascontiguousarray(losses, np.float64)
    if losses.ndim != 2 or losses.shape[1] < 2:
        raise ValueError(f"losses have shape {losses.shape}; expected (documents, models) with two models or more")
    docs, models = losses.shape
    if estimator == "spearman":

        def spearman(benchmark: np.ndarray) -> Strength:
            value = np.empty(docs)
            _spearman(losses, average_ranks(combined(benchmark, models, combine)), value)
            return Strength(estimator, value, None, 1.0, None)

        return spearman
    if estimator == "noise":
        return _noise(losses, combine, told, pooling)
    credit = 0.0 if estimator == "preselect" and ties == "paper" else 0.5

    def concordance(benchmark: np.ndarray) -> Strength:
        scores = combined(benchmark, models, combine)
        up, down, weight = _pair_weights(scores, estimator, ties)
        numerator = np.empty(docs)
        _concordant(losses, up, down, credit, numerator)
        levels = None
        if estimator == "preselect" and len(scores) == 1:
            levels = int(weight) + 1 if ties == "paper" else 2 * int(weight) + 1
        return Strength(estimator, numerator / weight, numerator, weight, levels)

    return concordance


def _noise(
    losses: np.ndarray, combine: Combine, told: np.ndarray | None, pooling: Pooling
) -> Callable[[np.ndarray], Strength]:
    docs, models = losses.shape
    if told is None:
        raise ValueError("the estimator 'noise' needs the token losses: pass pairs=pair_statistics(...)")
    if told.shape != (docs, models * (models - 1) // 2):
        raise ValueError(f"pairs have shape {told.shape}; expected {(docs, models * (models - 1) // 2)}")
    if pooling not in get_args(Pooling):
        raise ValueError(f"pooling is {pooling!r}; expected mean or product")
    missing = np.isnan(losses).any(axis=1)
    product = pooling == "product"
    higher = np.log(np.maximum(told, _LEAST)) if product else told
    lower = np.log(np.maximum(1.0 - told, _LEAST)) if product else told[:0]

    def noise(benchmark: np.ndarray) -> Strength:
        up, down, weight = _pair_weights(combined(benchmark, models, combine), "noise", "half")
        numerator = np.empty(docs)
        if product:
            _pooled(higher, lower, up, down, numerator)
        else:
            _mean(told, up, down, numerator)
        numerator[missing] = np.nan
        value = np.exp(numerator / weight) if product else numerator / weight
        return Strength("noise", value, numerator, weight, None)

    return noise


def standard_error(told: np.ndarray, benchmark: np.ndarray, combine: Combine = "mean") -> np.ndarray:
    """float64 (D,): the standard error of ``preselect`` if token losses were drawn again; NaN where unknown.

    The root of the sum of p (1 - p) over the pairs, p the probability that the pair's order is real (``told``, as for
    ``measured``), over the number of pairs; with several benchmarks a pair counts by the share that tell it apart.
    """
    i, j = _pairs(np.shape(benchmark)[-1])
    gaps = combined(benchmark, np.shape(benchmark)[-1], combine)
    share = (gaps[:, i] != gaps[:, j]).mean(axis=0)
    variance = np.empty(len(told))
    _variance(told, share**2, variance)
    return np.sqrt(variance) / share.sum()


def combined(benchmark: np.ndarray, models: int, combine: Combine = "mean") -> np.ndarray:
    """The benchmarks to measure strength on, float64 (B, N): all of them for "mean", one made of all otherwise."""
    scores = np.atleast_2d(np.asarray(benchmark, np.float64))
    if scores.ndim != 2 or scores.shape[1] != models or len(scores) == 0 or not np.isfinite(scores).all():
        raise ValueError(
            f"benchmark scores have shape {np.shape(benchmark)}; expected ({models},) or (benchmarks, {models}), "
            "one finite score per model"
        )
    flat = np.flatnonzero((scores == scores[:, :1]).all(axis=1))
    if len(flat):
        raise ValueError(f"benchmark {flat[0]} gives every model the same score and orders nothing: leave it out")
    if combine == "zscore":
        centred = scores - scores.mean(axis=1, keepdims=True)
        scores = (centred / scores.std(axis=1, keepdims=True)).mean(axis=0)[None]
    elif combine == "rank":
        scores = average_ranks(scores).mean(axis=0)[None]
    elif combine != "mean":
        raise ValueError(f"combine is {combine!r}; expected mean, zscore or rank")
    if combine != "mean" and np.ptp(scores) < 1e-9:
        raise ValueError(
            "the benchmarks cancel out: together they order no models; use combine='mean' or fewer of them"
        )
    return scores


def average_ranks(rows: np.ndarray) -> np.ndarray:
    """Ranks 1..N within each row, the mean rank for ties; float64, same shape."""
    less = (rows[:, None, :] < rows[:, :, None]).sum(axis=2)
    equal = (rows[:, None, :] == rows[:, :, None]).sum(axis=2)
    return less + (equal + 1) / 2


@cache
def _pairs(models: int) -> tuple[np.ndarray, np.ndarray]:
    """First and second models of the pairs."""
    return np.triu_indices(models, 1)


def _pair_weights(scores: np.ndarray, estimator: Estimator, ties: Ties) -> tuple[np.ndarray, np.ndarray, float]:
    """What a pair (i, j), i < j, earns when the loss of i is above (``up``), below (``down``) that of j; and the sum.

    Several benchmarks add up, each with the same total. The sum is taken in the kernels' order, so that a document
    which earns everything has exactly strength 1.
    """
    if ties not in get_args(Ties):
        raise ValueError(f"ties is {ties!r}; expected paper or half")
    i, j = _pairs(scores.shape[1])
    gap = scores[:, j] - scores[:, i]
    weights = np.abs(gap) if estimator == "margin" else (gap != 0).astype(np.float64)
    if estimator == "preselect" and ties == "paper":
        total = float(gap.size)
    else:
        sums = weights.sum(axis=1, keepdims=True)
        weights = weights * (sums.max() / sums)
        total = 0.0
    up, down = (weights * (gap > 0)).sum(axis=0), (weights * (gap < 0)).sum(axis=0)
    if not total:
        for earned in up + down:
            total += float(earned)
    return up, down, total


@kernel
def _concordant(losses, up, down, credit, numerator):
    num, models = losses.shape
    for doc in range(num):
        total = 0.0
        pair = 0
        missing = False
        for i in range(models):
            first = losses[doc, i]
            missing |= first != first
            for j in range(i + 1, models):
                second = losses[doc, j]
                total += up[pair] * (first > second) + down[pair] * (first < second)
                total += credit * (up[pair] + down[pair]) * (first == second)
                pair += 1
        numerator[doc] = np.nan if missing else total


@kernel
def _variance(told, weights, variance):
    for doc in range(len(told)):
        total = 0.0
        for pair in range(told.shape[1]):
            total += weights[pair] * (told[doc, pair] * (1.0 - told[doc, pair]))
        variance[doc] = total


@kernel
def _mean(told, up, down, numerator):
    for doc in range(len(told)):
        total = 0.0
        for pair in range(told.shape[1]):
            total += up[pair] * told[doc, pair] + down[pair] * (1.0 - told[doc, pair])
        numerator[doc] = total


@kernel
def _pooled(higher, lower, up, down, numerator):
    for doc in range(len(higher)):
        total = 0.0
        for pair in range(higher.shape[1]):
            total += up[pair] * higher[doc, pair] + down[pair] * lower[doc, pair]
        numerator[doc] = total


@kernel
def _spearman(losses, ranks, value):
    num, models = losses.shape
    middle = (models + 1) / 2
    own = np.empty(models)
    spreads = ((ranks - middle) ** 2).sum(axis=1)
    for doc in range(num):
        spread = 0.0
        for i in range(models):
            below = equal = 0
            for j in range(models):
                below += losses[doc, j] > losses[doc, i]  # the highest loss ranks first, as the lowest score does
                equal += losses[doc, j] == losses[doc, i]  # 0 for NaN, which makes the rank wrong: caught here
            own[i] = below + (equal + 1) / 2 - middle if equal else np.nan
            spread += own[i] * own[i]
        total = 0.0
        for b in range(len(ranks)):
            together = 0.0
            for i in range(models):
                together += own[i] * (ranks[b, i] - middle)
            total += together / np.sqrt(spread * spreads[b])
        value[doc] = total / len(ranks)
