"""Differences of loss between models over the same tokens, and how far those differences can be trusted.

For a pair of models the difference of their mean losses on a document is the mean of a series of token differences.
What both models find hard cancels; what is left is correlated from token to token, so that the usual s / sqrt(n) is too
small. The standard error here is from overlapping batch means (Meketon and Schmeiser 1984): the spread of the means
of all windows of b tokens. It has the large-sample variance of a Newey-West estimate with b lags, is never negative,
costs O(n) per pair whatever b is, is unbiased for independent tokens, and is s / sqrt(n) itself for b = 1. With
b = 1.3 n^(1/3), the order that is best for this kernel, it is about 7 % too small at n = 667 for a correlation
of 0.5 between neighbours, and 20 % at n = 30, where s / sqrt(n) is 40 % too small.

    pairs = pair_statistics(token_losses, offsets)      # (models, tokens) float32; offsets (documents + 1,)
    strength(losses, benchmark, "noise", pairs=pairs)

Pairs (i, j), i < j, stand in the order of ``np.triu_indices(models, 1)``: (0, 1), (0, 2), ..., (1, 2), ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scorers.jit import kernel


@dataclass(frozen=True)
class PairStatistics:
    """What the noise-aware estimator needs of D documents and P = N (N - 1) / 2 pairs of models.

    difference: float64 (D, P), mean loss of model i less that of model j, in nats per token; NaN where unknown.
    error: float64 (D, P), its standard error; NaN where it cannot be had (fewer than two tokens).
    tokens: int64 (D,).
    """

    difference: np.ndarray
    error: np.ndarray
    tokens: np.ndarray


def pair_statistics(token_losses: np.ndarray, offsets: np.ndarray, window: int | None = None) -> PairStatistics:
    """Reduce the losses of every token under every model to one difference and one standard error per pair.

    token_losses: float32 or float64 (models, tokens), nats; offsets: integers (documents + 1,), document d has the
    columns from ``offsets[d]`` to ``offsets[d + 1]``. window: tokens per batch; None for ceil(1.3 n^(1/3)) of the
    document's n tokens, 1 to take the tokens as independent; never more than half of the tokens.
    A token that is NaN makes its document's pairs NaN. ValueError for arrays that do not fit.
    """
    if token_losses.ndim != 2 or len(token_losses) < 2 or token_losses.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"token losses are {token_losses.dtype} of shape {token_losses.shape}; "
            "expected float32 or float64 of shape (models, tokens) with two models or more"
        )
    offsets = np.ascontiguousarray(offsets, np.int64)
    total = token_losses.shape[1]
    if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] < 0 or offsets[-1] > total or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets must ascend within 0 and the {total} tokens; got {offsets[:3]} ... {offsets[-1:]}")
    if window is not None and window < 1:
        raise ValueError(f"window is {window}; expected a number of tokens of 1 or more, or None")
    tokens = np.diff(offsets)
    if window is None:
        windows = np.ceil(1.3 * np.cbrt(tokens)).astype(np.int64)
    else:
        windows = np.full(len(tokens), window, np.int64)
    windows = np.maximum(np.minimum(windows, tokens // 2), 1)
    models = len(token_losses)
    difference = np.full((len(tokens), models * (models - 1) // 2), np.nan)
    error = np.full_like(difference, np.nan)
    scratch = np.empty((models, int(tokens.max(initial=0))))
    _reduce(np.ascontiguousarray(token_losses), offsets, windows, scratch, difference, error)
    return PairStatistics(difference, error, tokens)


def from_sums(
    differences: np.ndarray, squares: np.ndarray, tokens: np.ndarray, inflation: float = 1.0
) -> PairStatistics:
    """The same from sums alone, where the tokens were not kept.

    differences, squares: float64 (D, P), sums over the tokens of the difference and of its square; tokens: (D,).
    Sums say nothing about correlation between tokens: ``inflation`` multiplies the variance, for example by the
    (1 + r) / (1 - r) of a correlation r between neighbours measured on a few documents.
    """
    if differences.shape != squares.shape or differences.shape[:1] != np.shape(tokens) or inflation <= 0:
        raise ValueError(
            f"sums of shapes {differences.shape} and {squares.shape} for {np.shape(tokens)} token counts, inflation "
            f"{inflation}; expected (documents, pairs) twice, (documents,) and a positive number"
        )
    count = np.asarray(tokens, np.float64)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = differences / count
        variance = np.maximum(squares - count * mean**2, 0) / (count - 1)
        error = np.where(count > 1, np.sqrt(inflation * variance / count), np.nan)
    return PairStatistics(mean, error, np.asarray(tokens, np.int64))


def steadied(pairs: PairStatistics, prior_tokens: float) -> PairStatistics:
    """Standard errors drawn towards those of all documents, as if each brought ``prior_tokens`` tokens of the average.

    Two dozen tokens say little about their own variance, and one that comes out too small by chance makes a
    difference look certain. The variance per token (tokens x error^2) becomes the mean of the document's own,
    weight = its tokens, and of all documents' (weighted by tokens), weight = prior_tokens. Where a document has no
    variance of its own the average is taken. 0 leaves everything as it is.
    """
    if prior_tokens < 0:
        raise ValueError(f"prior_tokens is {prior_tokens}; expected 0 or more")
    if prior_tokens == 0:
        return pairs
    error = np.empty_like(pairs.error)
    _steady(np.ascontiguousarray(pairs.error), pairs.tokens, float(prior_tokens), error)
    return PairStatistics(pairs.difference, error, pairs.tokens)


def likely(pairs: PairStatistics) -> np.ndarray:
    """float64 (D, P): the probability that model i's loss is really above model j's, Phi(difference / error).

    One half where there is no standard error, or neither difference nor error; NaN where the difference is unknown.
    """
    found = np.empty(pairs.difference.shape)
    _likely(np.ascontiguousarray(pairs.difference), np.ascontiguousarray(pairs.error), found)
    return found


@kernel
def _steady(error, tokens, prior, steady):
    """One pass for the averages, one for the errors: a million documents make arrays that no cache holds."""
    docs, number = error.shape
    total, weights = np.zeros(number), np.zeros(number)
    for doc in range(docs):
        count = np.float64(tokens[doc])
        for pair in range(number):
            own = count * (error[doc, pair] * error[doc, pair])
            if np.isfinite(own):
                total[pair] += count * own
                weights[pair] += count
    for doc in range(docs):
        count = np.float64(tokens[doc])
        for pair in range(number):
            own = count * (error[doc, pair] * error[doc, pair])
            known = np.isfinite(own)
            weight = count if known else 0.0
            mean = total[pair] / weights[pair]
            variance = ((weight * own if known else 0.0) + prior * mean) / (weight + prior)
            steady[doc, pair] = np.sqrt(variance / count)


@kernel
def _likely(difference, error, found):
    for doc in range(len(difference)):
        for pair in range(difference.shape[1]):
            mean, spread = difference[doc, pair], error[doc, pair]
            if mean != mean:
                found[doc, pair] = np.nan
            elif spread > 0:
                found[doc, pair] = 0.5 * math.erfc(-mean / spread * 0.7071067811865476)
            elif spread == 0:
                found[doc, pair] = 0.5 + 0.5 * np.sign(mean)
            else:  # no standard error: nothing is known
                found[doc, pair] = 0.5


@kernel
def _reduce(losses, offsets, windows, scratch, difference, error):
    """scratch[m, w]: loss of model m over window w, less the expectation from its mean."""
    models = len(losses)
    for doc in range(len(offsets) - 1):
        begin = offsets[doc]
        num = offsets[doc + 1] - begin
        if num == 0:
            continue
        size = windows[doc]
        count = num - size + 1
        for m in range(models):
            row, out = losses[m], scratch[m]
            mean = 0.0
            for t in range(num):
                mean += row[begin + t]
            mean /= num
            total = -size * mean
            for t in range(size):
                total += row[begin + t]
            out[0] = total
            for w in range(1, count):
                total += np.float64(row[begin + w + size - 1]) - np.float64(row[begin + w - 1])
                out[w] = total
        pair = 0
        for i in range(models):
            for j in range(i + 1, models):
                first, second = losses[i], losses[j]
                mean = 0.0
                for t in range(num):  # of the differences, not the difference of means: equal losses give exactly 0
                    mean += np.float64(first[begin + t]) - np.float64(second[begin + t])
                difference[doc, pair] = mean / num
                if num > 1:
                    spread = _squared_distance(scratch[i], scratch[j], count)
                    error[doc, pair] = np.sqrt(spread / (np.float64(size) * count * (num - size)))
                pair += 1


@kernel
def _squared_distance(a, b, count):
    """Sum of (a - b)^2 in four independent sums, which the processor can add at once."""
    s0 = s1 = s2 = s3 = 0.0
    whole = count - count % 4
    for w in range(0, whole, 4):
        d0, d1, d2, d3 = a[w] - b[w], a[w + 1] - b[w + 1], a[w + 2] - b[w + 2], a[w + 3] - b[w + 3]
        s0 += d0 * d0
        s1 += d1 * d1
        s2 += d2 * d2
        s3 += d3 * d3
    for w in range(whole, count):
        s0 += (a[w] - b[w]) ** 2
    return (s0 + s1) + (s2 + s3)
