"""Rates, ratios and their intervals. A ratio compares two sides on the same parts, measured one after the other.

>>> compare([30.0, 31.0, 29.0], [10.0, 10.0, 10.0]).of_medians
3.0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one side is as another.

    of_medians: the ratio of the two medians. paired: the median of the ratios part by part, which a neighbour's load
    that hits both sides of a pair leaves alone. low, high: its bootstrap interval at LEVEL.
    """

    of_medians: float
    paired: float
    low: float
    high: float


def median(values: Sequence[float]) -> float:
    """The median as a plain float."""
    return float(np.median(values))


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the median, at LEVEL. Deterministic for a seed."""
    sample = np.asarray(values, np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(sample), (RESAMPLES, len(sample)))
    medians = np.median(sample[drawn], axis=1)
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def compare(rates: Sequence[float], base: Sequence[float]) -> Ratio:
    """How many times as fast `rates` are as `base`; pairs are by position.

    Raises ValueError for no pair, for unequal numbers, and for rates that are not positive.
    """
    if not rates or len(rates) != len(base):
        raise ValueError(f"{len(rates)} rates against {len(base)}: expected the same number, at least one")
    if min(*rates, *base) <= 0:
        raise ValueError("a rate is zero or negative")
    pairs = [ours / theirs for ours, theirs in zip(rates, base, strict=True)]
    low, high = interval(pairs)
    return Ratio(median(rates) / median(base), median(pairs), low, high)


def most(count: int, level: float = LEVEL) -> float:
    """Upper bound of the mean of a Poisson count: with `level` confidence it is no larger.

    >>> round(most(0), 3)
    2.996
    """
    low, high = float(count), count + 10.0 * math.sqrt(count + 1) + 10.0
    for _ in range(100):
        middle = (low + high) / 2
        term = total = math.exp(-middle)
        for k in range(1, count + 1):
            term *= middle / k
            total += term
        low, high = (middle, high) if total > 1 - level else (low, middle)
    return high
