"""P-values that hold for any model and any number of draws, and corrections for many of them.

>>> rank_p(1.0, [2.0, 3.0, 0.5])      # one of three draws is as small
0.5
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

EXCEEDANCES = 10
"""Draws at or below the target after which a sequential test stops (h of Besag and Clifford, Biometrika 1991)."""


def exceedances(target: float, draws: np.ndarray, tie: float = 0.0) -> int:
    """How many draws are as small as the target, or within `tie` above it: ties count against membership."""
    return int((np.asarray(draws) <= target + tie).sum())


def rank_p(target: float, draws: Sequence[float] | np.ndarray, tie: float = 0.0) -> float:
    """(1 + exceedances) / (m + 1): exact for m exchangeable draws. Raises ValueError without a draw or for a NaN."""
    values = np.asarray(draws, np.float64)
    if not len(values) or not math.isfinite(target) or not np.isfinite(values).all():
        raise ValueError("a rank needs a finite target and at least one draw, all finite")
    return (1 + exceedances(target, values, tie)) / (len(values) + 1)


def sequential_p(
    target: float, draws: Sequence[float] | np.ndarray, m: int, tie: float = 0.0, h: int = EXCEEDANCES
) -> float | None:
    """Besag and Clifford's p-value of draws that come one after the other, at most m; None: more are needed.

    h / l if the h-th exceedance is draw number l, else (1 + exceedances) / (m + 1) once all m are there. Draws after
    the one that decides are not looked at, so they may come in batches.
    """
    values = np.asarray(draws, np.float64)[:m]
    where = np.flatnonzero(values <= target + tie)
    if len(where) >= h:
        return h / (int(where[h - 1]) + 1)
    return rank_p(target, values, tie) if len(values) == m else None


def last_k_bound(guesses: int, words: int, length: int, k: int, replacement: bool) -> float:
    """P-value of a hit: the chance that any of so many distinct guesses is the last k words of a phrase.

    words: in the list. length: words of a phrase. Without replacement the first length - k words are known and gone:
    (V - L + k) ... (V - L + 1) tails are left. Guesses must not depend on the secret words.
    """
    if not 1 <= k <= length or words < length or guesses < 0:
        raise ValueError(f"k {k}, length {length}, words {words}: expected 1 <= k <= length <= words")
    tails = math.prod(words if replacement else words - length + k - i for i in range(k))
    return min(1.0, guesses / tails)


def positions_p(hits: int, chances: Sequence[float]) -> float:
    """P(at least so many hits) where position i is hit with a chance of at most chances[i], whatever came before.

    The number of hits is then dominated by independent trials of those chances (Poisson binomial).
    """
    if hits <= 0:
        return 1.0
    mass = np.zeros(len(chances) + 1)
    mass[0] = 1.0
    for chance in chances:
        mass[1:] = mass[1:] * (1 - min(chance, 1.0)) + mass[:-1] * min(chance, 1.0)
        mass[0] *= 1 - min(chance, 1.0)
    return min(1.0, float(mass[hits:].sum()))


def holm(p: Sequence[float]) -> np.ndarray:
    """Adjusted p-values: reject those at most alpha, and the chance of any false rejection is at most alpha."""
    values, order, count = _ordered(p)
    steps = values[order] * (count - np.arange(count))
    return _placed(np.minimum(np.maximum.accumulate(steps), 1.0), order)


def benjamini_hochberg(p: Sequence[float], dependent: bool = False) -> np.ndarray:
    """Adjusted p-values: reject those at most alpha, and the expected share of false ones among them is at most alpha.

    For independent p-values; `dependent`: for any (Benjamini and Yekutieli).
    """
    values, order, count = _ordered(p)
    factor = float((1 / np.arange(1, count + 1)).sum()) if dependent else 1.0
    steps = values[order] * count * factor / np.arange(1, count + 1)
    return _placed(np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0), order)


def adjusted(p: Sequence[float], correction: str) -> np.ndarray:
    """The p-values after a correction by name: none, holm, bh or by."""
    if correction == "holm":
        return holm(p)
    if correction in ("bh", "by"):
        return benjamini_hochberg(p, correction == "by")
    if correction != "none":
        raise ValueError(f"correction {correction!r}: expected none, holm, bh or by")
    return np.asarray(p, np.float64)


def binomial_tail(count: int, trials: int, chance: float) -> float:
    """P(at least so many of the trials)."""
    if count <= 0:
        return 1.0
    if chance <= 0:
        return 0.0
    if chance >= 1:
        return 1.0 if count <= trials else 0.0
    logs = [
        math.lgamma(trials + 1)
        - math.lgamma(i + 1)
        - math.lgamma(trials - i + 1)
        + i * math.log(chance)
        + (trials - i) * math.log1p(-chance)
        for i in range(count, trials + 1)
    ]
    return min(1.0, math.fsum(math.exp(one) for one in logs))


def binomial_limit(trials: int, chance: float, level: float = 0.001) -> int:
    """The smallest count that more than which so many trials reach with a chance of at most `level`."""
    count = int(trials * chance)
    while binomial_tail(count + 1, trials, chance) > level:
        count += 1
    while count > 0 and binomial_tail(count, trials, chance) <= level:
        count -= 1
    return count


def uniform_p(p: Sequence[float]) -> float:
    """P-value of the hypothesis that p-values are uniform, against too many small ones: one-sided Kolmogorov-Smirnov.

    Asymptotic, exp(-2 n D^2); for rank p-values, which are never smaller than uniform ones, it is conservative.
    """
    values = np.sort(np.asarray(p, np.float64))
    count = len(values)
    above = float((np.arange(1, count + 1) / count - values).max()) if count else 0.0
    return math.exp(-2 * count * max(above, 0.0) ** 2)


def _ordered(p: Sequence[float]) -> tuple[np.ndarray, np.ndarray, int]:
    values = np.asarray(p, np.float64)
    if ((values < 0) | (values > 1) | ~np.isfinite(values)).any():
        raise ValueError("p-values: expected numbers from 0 to 1")
    return values, np.argsort(values, kind="stable"), len(values)


def _placed(steps: np.ndarray, order: np.ndarray) -> np.ndarray:
    found = np.empty(len(steps))
    found[order] = steps
    return found
